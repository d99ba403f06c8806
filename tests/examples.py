"""The files of the sites in ops/examples."""

from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "ops" / "examples"


def tomls(example: Path) -> list[Path]:
    """Return the files of the instances."""
    return sorted(path for path in (example / "config").glob("*.toml") if path.name != "svc.toml")


def variables(example: Path) -> dict[str, str]:
    """Return what .env.example sets, as Docker Compose reads it: to the end of the line, without quotes around it."""
    file = example / ".env.example"
    lines = file.read_text().splitlines() if file.exists() else []
    pairs = (line.split("=", 1) for line in lines if line and line[0] != "#")
    return {name: value.strip('"') for name, value in pairs}
