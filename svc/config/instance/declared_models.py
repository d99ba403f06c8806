"""The models of an instance, as far as its TOML names them. Pure."""

from svc.config.instance.model import InstanceConfig, MockBackend, VllmBackend

# Flags that give a model another name than that of its file: the first is vLLM's and SGLang's, the second llama.cpp's.
SERVED_NAME_FLAGS = ("--served-model-name", "--alias")


def declared_models(config: InstanceConfig) -> tuple[str, ...]:
    """Return the models in the TOML's metadata; without these, those that the instance's command names."""
    return config.models or models_in_command(config)


def models_in_command(config: InstanceConfig) -> tuple[str, ...]:
    """Return the models that the instance's command names; () if they are not known."""
    backend = config.backend
    if isinstance(backend, MockBackend):
        return backend.models
    return _served_names(config.argv) or ((backend.model,) if isinstance(backend, VllmBackend) else ())


def _served_names(argv: list[str]) -> tuple[str, ...]:
    """Return the names after one of SERVED_NAME_FLAGS; a flag may take several, and may be written with `=`."""
    for index, argument in enumerate(argv):
        flag, _, value = argument.partition("=")
        if argument in SERVED_NAME_FLAGS:
            rest = argv[index + 1 :]
            end = next((n for n, value in enumerate(rest) if value.startswith("-")), len(rest))
            return tuple(rest[:end])
        if flag in SERVED_NAME_FLAGS and value:
            return (value,)
    return ()
