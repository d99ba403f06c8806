"""Every key of a babysitter TOML: its reader, its default and its purpose."""

import dataclasses

from svc.config.instance.fields import (
    Field,
    allowed_host,
    command,
    env,
    gpu_memory,
    gpus,
    health_path,
    host,
    load_interval,
    metadata,
    models,
    name,
    size,
    url,
    urls,
    variable,
    work_dir,
)
from svc.config.instance.model import (
    Backend,
    CommandBackend,
    InfinilmBackend,
    InfinilmRustBackend,
    InstanceConfig,
    MockBackend,
    VllmBackend,
)
from svc.config.readers import boolean, choice, list_of, nonempty_text, number, text, whole_number
from svc.protocol.resources import SLEEP_BY_STOP, SLEEP_BY_VLLM

TOP_LEVEL: dict[str, Field] = {
    "name": Field(
        name,
        help="the instance's name; left out: TYPE-PORT. The instance registers as NAME-server, its babysitter as NAME",
    ),
    "host": Field(host, "localhost", help="the address at which other machines reach the instance"),
    "port": Field(
        whole_number(1, 65534),
        required="give the instance's port, such as port = 8100",
        help="the instance's port; its babysitter listens on the next one",
    ),
    "registry_url": Field(
        urls,
        help="the registry, or a list: the first registry that answers is used; left out: the site's. registry_url "
        "under [launch] (REGISTRY_URL) replaces it",
    ),
    "router_url": Field(
        url, "", help="the router, whose metrics show whether the instance is idle; left out: the site's"
    ),
    "token_file": Field(
        nonempty_text, "", help="file with the registry's write token, for a registry on another machine"
    ),
    "metadata": Field(
        metadata,
        {},
        help="data for the routers: cache_type, weight, max_concurrency, continues, or any other key; "
        "models: the models of a server that has no list of its own; static = true: it stays registered without "
        "heartbeats, and health checks decide",
    ),
}
DEFAULTS = {field.name: field.default for field in dataclasses.fields(InstanceConfig)}
BABYSITTER: dict[str, Field] = {
    "max_restarts": Field(
        whole_number(0, 10**9),
        10000,
        help="restarts after which the instance is not restarted again; a start by an operator resets the count",
    ),
    "restart_delay": Field(number(0, 86400), 5, help="seconds between the end of the instance and its restart"),
    "heartbeat_interval": Field(number(0.1, 3600), 30, help="seconds between two heartbeats to the registry"),
    "load_interval": Field(
        load_interval,
        DEFAULTS["load_interval"],
        help="seconds between two reports of the engine's load to the registry, for the router's policies; 0: none",
    ),
    "probe": Field(
        choice("models", "generate"),
        DEFAULTS["probe"],
        help="the proof that the instance works: it lists its models, or it generates a token after an idle time",
    ),
    "probe_interval": Field(number(0.1, 86400), DEFAULTS["probe_interval"], help="seconds between two probes"),
    "probe_timeout": Field(number(0.1, 3600), DEFAULTS["probe_timeout"], help="seconds that a probe may take"),
    "probe_threshold": Field(
        whole_number(1, 1000),
        DEFAULTS["probe_threshold"],
        help="failed probes in a row after which the instance is restarted",
    ),
    "continuation_probe": Field(
        boolean,
        DEFAULTS["continuation_probe"],
        help="whether the babysitter asks the engine once after each start to continue the beginning of an answer; "
        "routers resume broken streams on instances that do",
    ),
    "health_path": Field(
        health_path,
        DEFAULTS["health_path"],
        help="path of the engine's own health check, which must answer 2xx before the instance gets requests; "
        "empty: no check; left out: /health, if the engine has it",
    ),
    "allowed_hosts": Field(
        list_of(allowed_host),
        DEFAULTS["allowed_hosts"],
        help="hosts that requests to the babysitter may name, besides this machine's own",
    ),
    "startup_timeout": Field(
        number(0, 604800),
        DEFAULTS["startup_timeout"],
        help="seconds in which the instance must become ready, else it is restarted; 0: no limit",
    ),
    "max_memory": Field(
        size,
        DEFAULTS["max_memory"],
        help="memory of all its processes, such as 40GiB, above which it is drained and restarted; 0: no limit",
    ),
    "on_demand": Field(
        boolean,
        DEFAULTS["on_demand"],
        help="whether the instance sleeps until a request needs it, and makes room for others when it is idle",
    ),
    "idle_after": Field(
        number(0, 31_536_000),
        DEFAULTS["idle_after"],
        help="seconds without requests after which an on-demand instance is put to sleep; 0: never",
    ),
    "min_awake": Field(
        number(0, 86400),
        DEFAULTS["min_awake"],
        help="seconds after its start in which an on-demand instance does not make room for others",
    ),
    "wake_timeout": Field(
        number(1, 86400),
        DEFAULTS["wake_timeout"],
        help="seconds that a request waits at most for an on-demand instance to wake",
    ),
    "sleep": Field(
        choice(SLEEP_BY_STOP, SLEEP_BY_VLLM),
        DEFAULTS["sleep"],
        help="how an on-demand instance is put to sleep: its server is stopped, or vLLM's sleep mode frees the GPUs",
    ),
    "keep": Field(
        boolean,
        DEFAULTS["keep"],
        help="whether an on-demand instance that is awake stays so: it neither makes room for others nor sleeps when "
        "idle",
    ),
}
RESOURCES: dict[str, Field] = {
    "gpus": Field(
        gpus,
        required="give the GPUs, such as gpus = [0], or their number, such as gpus = 1",
        help="indexes of the GPUs that the instance uses, such as [0, 1], or the number of GPUs, such as 2: these are "
        "chosen at each start",
    ),
    "gpu_memory": Field(
        gpu_memory, 0, help="memory that it needs on each of these GPUs, such as 38GB; left out: the whole GPU"
    ),
}
EVERY_PROCESS: dict[str, Field] = {
    "work_dir": Field(work_dir, "", help="the working directory; left out: the site's directory"),
    "env": Field(env, {}, help="environment variables, in addition to supervisord's"),
    "api_key_file": Field(
        nonempty_text, "", help="file with the API key that the server requires; relative to the site's directory"
    ),
    "api_key_variable": Field(
        variable,
        "",
        help="the environment variable that passes this key to the server; left out: the type's, such as VLLM_API_KEY",
    ),
}
EVERY_BACKEND: dict[str, Field] = {
    "args": Field(list_of(text), (), help="additional arguments, which are passed unchanged"),
    **EVERY_PROCESS,
}
BACKENDS: dict[str, tuple[type[Backend], dict[str, Field]]] = {
    "command": (
        CommandBackend,
        {
            "command": Field(
                command, required="give the program to run", help="the program to run, with its arguments"
            ),
            **EVERY_BACKEND,
        },
    ),
    "vllm": (
        VllmBackend,
        {
            "model": Field(nonempty_text, required="give the model's name or path", help="the model's name or path"),
            **EVERY_BACKEND,
        },
    ),
    "mock": (
        MockBackend,
        {
            "models": Field(
                models,
                required='name its models, such as models = ["demo"]',
                help="names of the models that the mock lists",
            ),
            **EVERY_BACKEND,
        },
    ),
    "infinilm": (
        InfinilmBackend,
        {
            "model_path": Field(nonempty_text, required="give the path of the model", help="the path of the model"),
            "launch_script": Field(
                nonempty_text, "", help="the server's script; left out: searched in the working directory"
            ),
            **EVERY_BACKEND,
        },
    ),
    "infinilm-rust": (
        InfinilmRustBackend,
        {
            "config_file": Field(
                nonempty_text, required="give the path of the model's TOML for xtask", help="the model's TOML for xtask"
            ),
            **EVERY_PROCESS,
        },
    ),
}
