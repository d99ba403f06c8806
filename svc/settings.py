"""Every setting of a site, with its default, its variable and its limits: the one place that reads the environment.

A flag wins over the environment, the environment over `config/svc.toml`, that over the default.
"""

import dataclasses
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from svc.base.address import has_credentials
from svc.base.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMPONENTS = ("registry", "router", "babysitter")
Pairs = tuple[tuple[str, str], ...]  # a table of names, such as [router.aliases]
Texts = tuple[str, ...]  # a list in the file; in a flag or a variable, texts separated by commas
POLICIES = ("auto", "round_robin", "least_requests", "power_of_two", "session", "prefix", "random")
MAX_SERVICES = 10_000
DEFAULT_HOST = "SVC_DEFAULT_HOST"  # for images: loopback is nobody else's in a container
Form = tuple[str, str]  # the pattern that a text must match, and what that is in words
SIZE: Form = (r"[1-9][0-9]*(KB|MB|GB)", "a size such as 50MB (KB, MB or GB)")
ACCOUNT: Form = (r"[a-z_][a-z0-9_-]{0,30}", "the name of a user or a group, such as infinilm")
# A path that every engine reads in the same way: without empty or dot segments, parameters (`;`), and escapes of
# . / \ % or control characters.
CANONICAL_PATH = (
    r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%(?!2[5EeFf]|5[Cc]|[01]|7[Ff])[0-9A-Fa-f]{2})+)*/?"
)
PATH_PATTERN: Form = (
    rf"\*|([A-Z-]+ )?(?=/)(?!.*,){CANONICAL_PATH}",
    "a path such as /v1/files*, where * is any text, or GET /docs for one method; without empty or dot segments, ; and "
    "escapes of . / \\ %",
)
HOST: Form = (
    r"\*|[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?",
    "a host without a port, or * for any",
)
ORIGIN: Form = (
    r"\*|null|file://|[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@,]+",
    "an origin such as https://chat.example.org, without a slash at its end, or * for any",
)
PLACE: Form = (r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._+-]+)+", "an absolute path of letters, digits and . _ + -")


def setting(
    default: Any,
    env: str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    form: Form | None = None,
    weak: str | None = None,
    help: str = "",
    token: str = "",
) -> Any:
    """A field with where it comes from and what it may be; the file wins over the `weak` variable.

    `token`: of a URL, the setting that holds its secret, as the URL itself must hold none.
    """
    meta = {
        "env": env,
        "least": least,
        "most": most,
        "choices": choices,
        "form": form,
        "weak": weak,
        "help": help,
        "token": token,
    }
    return dataclasses.field(default=default, metadata=MappingProxyType(meta))


@dataclasses.dataclass(frozen=True, slots=True)
class RegistrySettings:
    host: str = setting("127.0.0.1", "REGISTRY_HOST", weak=DEFAULT_HOST, help="address to listen on")
    port: int = setting(18000, "REGISTRY_PORT", least=1, most=65535, help="port to listen on")
    health_interval: float = setting(30.0, "REGISTRY_HEALTH_INTERVAL", least=0.1, help="seconds between health checks")
    health_timeout: float = setting(5.0, "REGISTRY_HEALTH_TIMEOUT", least=0.1, help="seconds a check may take")
    cleanup_interval: float = setting(60.0, "REGISTRY_CLEANUP_INTERVAL", least=0.1, help="seconds between clean-ups")
    forget_after: float = setting(300.0, least=1, help="seconds after its lease when a silent service is removed")
    store: str = setting(
        "", help="where registrations live: sqlite:PATH (default var/registry.db) or redis://HOST:PORT/DB?prefix=svc"
    )
    store_password_file: str = setting("", "REGISTRY_STORE_PASSWORD_FILE", help="file with the password of that Redis")
    token_file: str = setting("", "REGISTRY_TOKEN_FILE", help="file with the token that writes need")
    read_token_file: str = setting("", "REGISTRY_READ_TOKEN_FILE", help="file with the token that reads need")
    allowed_networks: str = setting("", help="networks that services may be in, separated by commas; none: any")
    allowed_hosts: Texts = setting(
        (), "REGISTRY_ALLOWED_HOSTS", form=HOST, help="hosts that requests may name, beside this machine's own"
    )
    max_services: int = setting(MAX_SERVICES, least=1, help="services that may be registered")
    insecure: bool = setting(False, help="let other machines write without a token")
    loopback_needs_token: bool = setting(
        False, help="ask this machine for a token too: for a local proxy that does not send X-Forwarded-For"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class RouterSettings:
    host: str = setting("127.0.0.1", "ROUTER_HOST", weak=DEFAULT_HOST, help="address to listen on")
    port: int = setting(8000, "ROUTER_PORT", least=1, most=65535, help="port to listen on")
    registry_url: str = setting("", "ROUTER_REGISTRY_URL", token="registry_token_file", help="where the registry is")
    registry_token_file: str = setting(
        "", "REGISTRY_READ_TOKEN_FILE", help="file with the token that the registry wants of readers elsewhere"
    )
    static_services: str = setting("", help="JSON file of services that no registry knows")
    health_interval: float = setting(30.0, "ROUTER_HEALTH_INTERVAL", least=0.1, help="seconds between health checks")
    health_timeout: float = setting(5.0, "ROUTER_HEALTH_TIMEOUT", least=0.1, help="seconds a check may take")
    max_errors: int = setting(3, least=1, help="failures in a row that take an instance out")
    registry_sync_interval: float = setting(
        10.0, "ROUTER_REGISTRY_SYNC_INTERVAL", least=0.1, help="seconds between looks at the registry"
    )
    service_removal_grace_period: float = setting(
        60.0, least=0, help="seconds that a name which vanished without a deletion is kept"
    )
    state_file: str = setting("", help="file that keeps the last table, for a start while no registry answers")
    policy: str = setting("auto", choices=POLICIES, help="how an instance is chosen")
    policies: Pairs = setting((), choices=POLICIES, help="how for one model: MODEL=POLICY")
    aliases: Pairs = setting((), help="another name for a model: NAME=MODEL")
    fallbacks: Pairs = setting((), help="the model to take when nobody has one: MODEL=OTHER")
    proxy_timeout: float = setting(1800.0, "PROXY_TIMEOUT_SECONDS", least=0.1, help="seconds a request may take in all")
    first_byte_timeout: float = setting(600.0, least=0.1, help="seconds until an instance's answer begins")
    idle_timeout: float = setting(300.0, least=0.1, help="seconds that an answer may pause")
    queue_size: int = setting(100, least=0, help="requests that may wait for an instance")
    queue_timeout: float = setting(60.0, least=0, help="seconds that one may wait")
    max_ejected: float = setting(0.5, least=0, most=1, help="share of the instances that may be ejected at once")
    retry_budget: float = setting(
        0.2, least=0, help="attempts after a 503, and third ones, as a share of the requests in flight"
    )
    poison_timeout: float = setting(
        600.0, least=0, help="seconds for which a request that killed two instances is refused; 0: none is"
    )
    cache_type_threshold: int = setting(
        51200, "CACHE_TYPE_ROUTING_THRESHOLD", least=1, help="bytes of prompt over which static caches are preferred"
    )
    max_body: int = setting(64 << 20, least=1024, help="bytes a request's body may have")
    max_buffered: int = setting(
        1 << 30, least=1 << 20, help="bytes that the bodies of all requests may have together; beyond it they wait"
    )
    allow_paths: Texts = setting(
        (), form=PATH_PATTERN, help="paths that are relayed beside inference, such as /v1/files*; *: all"
    )
    keys_file: str = setting("", "ROUTER_KEYS_FILE", help="file of API keys that clients need (svc keys)")
    upstream_keys_file: str = setting(
        "", help="file (TOML) of upstream API keys: those that the router sends to instances"
    )
    trusted_proxies: str = setting("", help="networks whose X-Forwarded-For is believed, separated by commas")
    allowed_hosts: Texts = setting(
        (), "ROUTER_ALLOWED_HOSTS", form=HOST, help="hosts that requests may name, beside this machine's own"
    )
    cors_origins: Texts = setting(
        (), "ROUTER_CORS_ORIGINS", form=ORIGIN, help="origins whose web pages may use the router; *: any"
    )
    metrics_networks: str = setting(
        "", help="networks that may read /metrics without a key, separated by commas; none: any, where it listens"
    )
    access_log: str = setting("", help="file for one line a request; - is stdout")
    access_log_format: str = setting("json", choices=("json", "text"), help="how those lines look")
    certfile: str = setting("", help="certificate (PEM) to serve TLS with")
    keyfile: str = setting("", help="the certificate's key (PEM)")
    upstream_ca: str = setting("", help="CA certificates (PEM) for https instances, instead of the system's")
    graceful_timeout: float = setting(30.0, least=0, help="seconds that begun requests have when the router stops")


@dataclasses.dataclass(frozen=True, slots=True)
class LaunchSettings:
    components: str = setting("all", "LAUNCH_COMPONENTS", help="all, or some of registry,router,babysitter")
    registry_url: str = setting("", "REGISTRY_URL", token="token_file", help="the registry, where it runs elsewhere")
    router_url: str = setting("", "ROUTER_URL", token="token_file", help="the router, where it runs elsewhere")
    babysitter_host: str = setting("", "BABYSITTER_HOST", help="the address that babysitters register with")
    babysitter_configs: str = setting("", "BABYSITTER_CONFIGS", help="the TOML files, separated by blanks")

    def runs(self, component: str) -> bool:
        return self.components == "all" or component in self.components.split(",")


@dataclasses.dataclass(frozen=True, slots=True)
class NginxSettings:
    """What `svc render --nginx` is told."""

    listen: str = setting("443", help="where nginx listens, separated by commas: 443, 192.0.2.1:443, [::]:443")
    server_name: str = setting("_", help="the names that clients use, separated by blanks; _: any")
    certificate: str = setting("", help="path of the certificate (PEM), with its chain")
    key: str = setting("", help="path of the certificate's key (PEM)")
    upstream: str = setting("router", choices=("router", "instances"), help="where requests go")
    routers: str = setting("", help="the routers, HOST:PORT, separated by commas; none: the site's own")
    model: str = setting("", help="with --from-registry: only the instances that have this model")


@dataclasses.dataclass(frozen=True, slots=True)
class LogSettings:
    """What the files in logs/ look like, and who rotates them: one of the two, never both."""

    max_size: str = setting("50MB", form=SIZE, help="size at which a log is rotated")
    backups: int = setting(5, least=0, most=1000, help="rotated files that are kept of each")
    rotate: str = setting("supervisord", choices=("supervisord", "logrotate"), help="who rotates")
    format: str = setting("text", "SVC_LOG_FORMAT", choices=("text", "json"), help="how svc's own programs log")


@dataclasses.dataclass(frozen=True, slots=True)
class SystemdSettings:
    """Where a host has its site and its svc, and as whom they run."""

    user: str = setting("infinilm", form=ACCOUNT, help="the user that everything runs as")
    group: str = setting(
        "", form=ACCOUNT, help="its group, which may use supervisorctl, too; empty: of the user's name, which may not"
    )
    site: str = setting("/var/lib/infinilm", form=PLACE, help="the site's directory on the host")
    prefix: str = setting("/opt/infinilm-svc", form=PLACE, help="the virtual environment that svc is installed in")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    registry: RegistrySettings
    router: RouterSettings
    launch: LaunchSettings
    nginx: NginxSettings
    logs: LogSettings
    systemd: SystemdSettings

    def registry_url(self) -> str:
        """Where this site's registry is reached: told, else on this machine."""
        return self.launch.registry_url or f"http://localhost:{self.registry.port}"

    def router_registry_url(self) -> str:
        return self.router.registry_url or self.registry_url()


SECTIONS: dict[str, type] = {
    "registry": RegistrySettings,
    "router": RouterSettings,
    "launch": LaunchSettings,
    "nginx": NginxSettings,
    "logs": LogSettings,
    "systemd": SystemdSettings,
}
Flags = Mapping[str, Mapping[str, Any]]


def load(toml: Path | None = None, environ: Mapping[str, str] | None = None, flags: Flags | None = None) -> Settings:
    """Settings from flags, environment and file; an `environ` of None means: do not look there.

    Raises ConfigError with every problem found.
    """
    problems: list[str] = []
    written = _read(toml, problems)
    made = {}
    for section, cls in SECTIONS.items():
        values = {}
        for field in dataclasses.fields(cls):
            for where, raw in _sources(section, field, written, toml, environ, flags):
                try:
                    values[field.name] = _value(field, raw)
                except ValueError as error:
                    problems.append(f"{where}: {error}")
                break
        made[section] = values
    if problems:
        raise ConfigError(*problems)
    settings = Settings(*(cls(**made[section]) for section, cls in SECTIONS.items()))
    wrong = [
        c for c in settings.launch.components.split(",") if c not in COMPONENTS and settings.launch.components != "all"
    ]
    if wrong:
        raise ConfigError(
            f"LAUNCH_COMPONENTS: unknown component {wrong[0]!r}; give all, or some of {','.join(COMPONENTS)}"
        )
    return settings


def _read(toml: Path | None, problems: list[str]) -> dict[str, Any]:
    if toml is None or not toml.exists():
        return {}
    try:
        written = tomllib.loads(toml.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{toml}: cannot read it: {error}")
        return {}
    for section, values in written.items():
        if section not in SECTIONS:
            problems.append(f"{toml}: unknown section [{section}]; there are {', '.join(SECTIONS)}")
        elif not isinstance(values, dict):
            problems.append(f"{toml}: {section} must be a section, [{section}]")
        else:
            known = [f.name for f in dataclasses.fields(SECTIONS[section])]
            problems += [
                f"{toml}: [{section}] {key}: unknown key; there are {', '.join(known)}"
                for key in values
                if key not in known
            ]
    return {s: v for s, v in written.items() if s in SECTIONS and isinstance(v, dict)}


def _sources(
    section: str,
    field: Any,
    written: dict[str, Any],
    toml: Path | None,
    environ: Mapping[str, str] | None,
    flags: Flags | None,
) -> Iterator[tuple[str, Any]]:
    """Where a value is given and what it is, the strongest first."""
    flag = (flags or {}).get(section, {}).get(field.name)
    if flag is not None and flag != ():
        yield f"--{field.name.replace('_', '-')}", flag
    variable = field.metadata["env"]
    if environ is not None and variable and environ.get(variable, "") != "":
        yield variable, environ[variable]
    if field.name in written.get(section, {}):
        yield f"{toml}: [{section}] {field.name}", written[section][field.name]
    weak = field.metadata["weak"]
    if environ is not None and weak and environ.get(weak, "") != "":
        yield weak, environ[weak]


def _value(field: Any, raw: Any) -> Any:
    kind: Callable[[Any], Any] = field.type
    meta = field.metadata
    if kind is bool:
        if str(raw).lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"must be true or false, not {raw!r}")
        return str(raw).lower() in ("true", "1")
    if kind in (int, float):
        if isinstance(raw, bool):
            raise ValueError(f"must be a number, not {raw!r}")
        try:
            value = kind(raw)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}, not {raw!r}") from None
        if (kind is float and not math.isfinite(value)) or (kind is int and isinstance(raw, float) and raw != value):
            raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}, not {raw!r}")
        if meta["least"] is not None and value < meta["least"]:
            raise ValueError(f"must be at least {meta['least']}, not {raw!r}")
        if meta["most"] is not None and value > meta["most"]:
            raise ValueError(f"must be at most {meta['most']}, not {raw!r}")
        return value
    if kind is Pairs:
        return _pairs(raw, meta["choices"])
    if kind is Texts:
        return _texts(raw, meta["form"])
    if not isinstance(raw, str):
        raise ValueError(f"must be text, not {raw!r}")
    if meta["token"] and any(map(has_credentials, raw.split(","))):
        raise ValueError(f"holds a user or a password; take it out of the URL and put the token into {meta['token']}")
    if meta["choices"] and raw not in meta["choices"]:
        raise ValueError(f"must be one of {', '.join(meta['choices'])}, not {raw!r}")
    if meta["form"] and raw != field.default and not re.fullmatch(meta["form"][0], raw):
        raise ValueError(f"must be {meta['form'][1]}, not {raw!r}")
    return raw


def _texts(raw: Any, form: Form | None) -> Texts:
    """Return the texts of a list, or of one text with commas between them; raises ValueError."""
    texts = [text.strip() for text in raw.split(",")] if isinstance(raw, str) else raw
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"must be a list of texts, not {raw!r}")
    for text in texts:
        if form and not re.fullmatch(form[0], text):
            raise ValueError(f"must be {form[1]}, not {text!r}")
    return tuple(text for text in texts if text)


def _pairs(raw: Any, choices: tuple[str, ...]) -> Pairs:
    """A table of the file, or a flag's NAME=VALUE words."""
    if not isinstance(raw, dict):
        words = [str(word).partition("=") for word in raw] if isinstance(raw, (list, tuple)) else [("", "", "")]
        if not all(name and value for name, _, value in words):
            raise ValueError(f"must be names and values, NAME=VALUE, not {raw!r}")
        raw = {name: value for name, _, value in words}
    for name, value in raw.items():
        if not isinstance(value, str) or not value or "=" in name:
            raise ValueError(f"{name}: must be a name, not {value!r}")
        if choices and value not in choices:
            raise ValueError(f"{name}: must be one of {', '.join(choices)}, not {value!r}")
    return tuple(sorted(raw.items()))
