"""Every setting of a site: its type, default, environment variable and limits. Pure.

`svc.config.settings_file` reads the values. A flag wins over the environment, the environment over
`config/svc.toml`, and the file over the default.
"""

import dataclasses

from svc.base import text_patterns as patterns
from svc.base.setting import NameTable, TextList, UrlList, rules_of, setting

ON_OFF = ("on", "off")
COMPONENTS = ("registry", "router", "babysitter")
COMPONENT_VARIABLES = ("LAUNCH_REGISTRY", "LAUNCH_ROUTER", "LAUNCH_BABYSITTER")  # read if LAUNCH_COMPONENTS is not set
ALL_COMPONENTS, NO_COMPONENTS = "all", "none"
POLICIES = ("auto", "round_robin", "least_requests", "least_load", "power_of_two", "session", "prefix", "random")
MAX_SERVICES = 10_000
DEFAULT_HOST_VARIABLE = "SVC_DEFAULT_HOST"  # container images set it: loopback is unreachable from outside


@dataclasses.dataclass(frozen=True, slots=True)
class RegistrySettings:
    host: str = setting(
        "127.0.0.1", "REGISTRY_HOST", fallback_variable=DEFAULT_HOST_VARIABLE, help="address to listen on"
    )
    port: int = setting(18000, "REGISTRY_PORT", minimum=1, maximum=65535, help="port to listen on")
    health_interval: float = setting(
        30.0, "REGISTRY_HEALTH_INTERVAL", minimum=0.1, help="seconds between health checks"
    )
    health_timeout: float = setting(5.0, "REGISTRY_HEALTH_TIMEOUT", minimum=0.1, help="seconds a check may take")
    cleanup_interval: float = setting(60.0, "REGISTRY_CLEANUP_INTERVAL", minimum=0.1, help="seconds between clean-ups")
    forget_after: float = setting(300.0, minimum=1, help="seconds after its lease when a silent service is removed")
    store: str = setting(
        "", help="where registrations live: sqlite:PATH (default var/registry.db) or redis://HOST:PORT/DB?prefix=svc"
    )
    store_password_file: str = setting("", "REGISTRY_STORE_PASSWORD_FILE", help="file with the password of that Redis")
    token_file: str = setting("", "REGISTRY_TOKEN_FILE", help="file with the token that writes need")
    read_token_file: str = setting("", "REGISTRY_READ_TOKEN_FILE", help="file with the token that reads need")
    allowed_networks: str = setting("", help="networks that services may be in, separated by commas; none: any")
    allowed_hosts: TextList = setting(
        (),
        "REGISTRY_ALLOWED_HOSTS",
        pattern=patterns.HOST,
        help="values of Host that requests may have, in addition to this machine's own names; *: any",
    )
    max_services: int = setting(MAX_SERVICES, minimum=1, help="services that may be registered")
    insecure: bool = setting(False, help="let other machines write without a token")
    loopback_needs_token: bool = setting(
        False, help="require a token from this machine too: for a local proxy that does not send X-Forwarded-For"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class RouterSettings:
    host: str = setting(
        "127.0.0.1", "ROUTER_HOST", fallback_variable=DEFAULT_HOST_VARIABLE, help="address to listen on"
    )
    port: int = setting(8000, "ROUTER_PORT", minimum=1, maximum=65535, help="port to listen on")
    registry_url: UrlList = setting(
        "", "ROUTER_REGISTRY_URL", token_setting="registry_token_file", help="the registry, or several"
    )
    registry_token_file: str = setting(
        "",
        "REGISTRY_READ_TOKEN_FILE",
        help="file with the token that the registry requires of readers on other machines",
    )
    static_services: str = setting("", "ROUTER_STATIC_SERVICES", help="JSON file of services that no registry knows")
    health_interval: float = setting(30.0, "ROUTER_HEALTH_INTERVAL", minimum=0.1, help="seconds between health checks")
    health_timeout: float = setting(5.0, "ROUTER_HEALTH_TIMEOUT", minimum=0.1, help="seconds a check may take")
    max_errors: int = setting(3, minimum=1, help="failures in a row that take an instance out")
    registry_sync_interval: float = setting(
        10.0, "ROUTER_REGISTRY_SYNC_INTERVAL", minimum=0.1, help="seconds between requests to the registry"
    )
    service_removal_grace_period: float = setting(
        60.0, minimum=0, help="seconds that a name which vanished without a deletion is kept"
    )
    state_file: str = setting("", help="file that keeps the last table, for a start while no registry answers")
    policy: str = setting("auto", choices=POLICIES, help="policy that chooses an instance")
    policies: NameTable = setting((), choices=POLICIES, help="policy for the instances of one model: MODEL=POLICY")
    auto_prefix: bool = setting(False, help="`auto` sends conversations of 512 bytes and more as `prefix` does")
    prefix_map_bytes: int = setting(
        32 << 20, minimum=1 << 20, help="bytes of memory in each process for what is known of prefixes"
    )
    session_headers: TextList = setting(
        (), pattern=patterns.HEADER, help="headers that name a request's session, in addition to those of known clients"
    )
    aliases: NameTable = setting((), help="another name for a model: NAME=MODEL")
    fallbacks: NameTable = setting((), help="the model to use when no instance has the requested one: MODEL=OTHER")
    unknown_model_status: str = setting(
        "auto",
        choices=("auto", "503", "404"),
        help="status for a model that no instance has; auto: 404 on /v1/messages and /v1/responses, else 503",
    )
    proxy_timeout: float = setting(
        1800.0, "PROXY_TIMEOUT_SECONDS", minimum=0.1, help="seconds a request may take in all"
    )
    first_byte_timeout: float = setting(600.0, minimum=0.1, help="seconds until an instance's answer begins")
    idle_timeout: float = setting(300.0, minimum=0.1, help="seconds that an answer may pause")
    queue_size: int = setting(100, minimum=0, help="requests that may wait for an instance")
    queue_timeout: float = setting(60.0, minimum=0, help="seconds that a request may wait for an instance")
    failing_instances: str = setting(
        "eject",
        choices=("eject", "mark"),
        help="what happens to an instance whose last answers are mostly 500 while others with its models answer",
    )
    max_ejected: float = setting(0.5, minimum=0, maximum=1, help="share of the instances that may be ejected at once")
    retry_budget: float = setting(
        0.2, minimum=0, help="attempts after a 503 and third attempts, as a share of the requests in flight"
    )
    poison_timeout: float = setting(
        600.0, minimum=0, help="seconds for which a request that killed two instances is refused; 0: never"
    )
    awake_rules_file: str = setting("", help="file with [[model]] and [[schedule]]; empty: config/svc.toml, if any")
    load_interval: float = setting(2.0, minimum=0, help="seconds between two reads of engines' loads; 0: none")
    max_kv_cache: float = setting(0.95, minimum=0, maximum=1, help="KV cache usage above which auto avoids an engine")
    max_queue_ratio: float = setting(4.0, minimum=1, help="multiple of peers' queues above which auto avoids an engine")
    cache_type_threshold: int = setting(
        51200,
        "CACHE_TYPE_ROUTING_THRESHOLD",
        minimum=1,
        help="bytes of a prompt's text over which static caches are preferred",
    )
    max_body: int = setting(64 << 20, minimum=1024, help="bytes a request's body may have")
    max_buffered: int = setting(
        1 << 30, minimum=1 << 20, help="bytes that the bodies of all requests may have together; beyond it they wait"
    )
    allow_paths: TextList = setting(
        (), pattern=patterns.PATH, help="paths to relay in addition to the table, such as /v1/files*; *: all"
    )
    keys_file: str = setting("", "ROUTER_KEYS_FILE", help="file of API keys that clients need (svc keys)")
    upstream_keys_file: str = setting(
        "", help="file (TOML) of upstream API keys: those that the router sends to instances"
    )
    trusted_proxies: str = setting("", help="networks whose X-Forwarded-For is trusted, separated by commas")
    trusted_fronts: str = setting(
        "", help="networks of programs that may name the user for whom they send a request, separated by commas"
    )
    user_headers: TextList = setting(
        (), pattern=patterns.HEADER, help="headers in which fronts name the user, in addition to X-OpenWebUI-User-Id"
    )
    fair: str = setting(
        "off",
        choices=("off", "address"),
        help="who gets equal shares in a router without keys_file; address: each client's address",
    )
    pass_priority: bool = setting(False, help="send a key's priority on to vLLM, as `priority` in the body")
    allowed_hosts: TextList = setting(
        (),
        "ROUTER_ALLOWED_HOSTS",
        pattern=patterns.HOST,
        help="values of Host that requests may have, in addition to this machine's own names; *: any",
    )
    cors_origins: TextList = setting(
        (), "ROUTER_CORS_ORIGINS", pattern=patterns.ORIGIN, help="origins whose web pages may use the router; *: any"
    )
    metrics_networks: str = setting(
        "", help="networks that may read /metrics without a key, separated by commas; empty: all"
    )
    access_log: str = setting("", help="file that gets one line for each request; -: stdout")
    usage_file: str = setting("", help="SQLite file that keeps what each key, user and model has used (svc usage)")
    usage_retention: int = setting(400, minimum=1, help="days for which that file keeps hours; then it keeps days")
    stream_usage: bool = setting(
        False, help="request the usage of streamed completions, and remove its event from streams that did not ask"
    )
    workers: int = setting(
        0,
        "ROUTER_WORKERS",
        minimum=0,
        maximum=64,
        help="processes that relay; 0: one below four cores, else a quarter of the cores, at most 8",
    )
    access_log_format: str = setting("json", choices=("json", "text"), help="format of those lines")
    resume: str = setting(
        "on", choices=ON_OFF, help="whether another instance continues a streamed answer that breaks off"
    )
    resume_models: NameTable = setting((), choices=ON_OFF, help="the same for one model: MODEL=on or MODEL=off")
    resume_max_text: int = setting(1 << 20, minimum=0, help="bytes of text above which an answer is not continued")
    certfile: str = setting("", help="certificate (PEM) to serve TLS with")
    keyfile: str = setting("", help="the certificate's key (PEM)")
    upstream_ca: str = setting("", help="CA certificates (PEM) for https instances, instead of the system's")
    graceful_timeout: float = setting(
        30.0, minimum=0, help="seconds that requests in flight have to end when the router stops"
    )
    site_name: str = setting("", help="name of the site on the page; empty: the name of its directory")


@dataclasses.dataclass(frozen=True, slots=True)
class LaunchSettings:
    components: str = setting(
        ALL_COMPONENTS, "LAUNCH_COMPONENTS", help="all, none, or some of registry,router,babysitter"
    )
    registry_url: UrlList = setting(
        "", "REGISTRY_URL", token_setting="token_file", help="the registry, or several, where it runs elsewhere"
    )
    router_url: str = setting("", "ROUTER_URL", token_setting="token_file", help="the router, where it runs elsewhere")
    babysitter_registry_url: UrlList = setting(
        "", "BABYSITTER_REGISTRY_URL", token_setting="token_file", help="the same, for babysitters only"
    )
    babysitter_router_url: str = setting(
        "", "BABYSITTER_ROUTER_URL", token_setting="token_file", help="the router, for babysitters only"
    )
    babysitter_host: str = setting("", "BABYSITTER_HOST", help="the address that babysitters register with")
    babysitter_configs: str = setting("", "BABYSITTER_CONFIGS", help="the TOML files, separated by blanks")

    def runs(self, component: str) -> bool:
        """Return whether the site runs a component: registry, router or babysitter."""
        return self.components == ALL_COMPONENTS or component in self.components.split(",")


@dataclasses.dataclass(frozen=True, slots=True)
class NginxSettings:
    """The settings of the files that `svc render --nginx` writes."""

    listen: str = setting("443", help="where nginx listens, separated by commas: 443, 192.0.2.1:443, [::]:443")
    server_name: str = setting("_", help="the names that clients use, separated by blanks; _: any")
    certificate: str = setting("", help="path of the certificate (PEM), with its chain")
    key: str = setting("", help="path of the certificate's key (PEM)")
    upstream: str = setting("router", choices=("router", "instances"), help="servers that nginx sends requests to")
    routers: str = setting("", help="the routers, HOST:PORT, separated by commas; none: the site's own")
    model: str = setting("", help="with --from-registry: only the instances that have this model")


@dataclasses.dataclass(frozen=True, slots=True)
class LogSettings:
    """The settings of the log files in logs/: their format, and the program that rotates them."""

    max_size: str = setting("50MB", pattern=patterns.SIZE, help="size at which a log is rotated (KB, MB or GB)")
    backups: int = setting(5, minimum=0, maximum=1000, help="number of rotated files to keep of each log")
    rotate: str = setting("supervisord", choices=("supervisord", "logrotate"), help="program that rotates the logs")
    format: str = setting(
        "text", "SVC_LOG_FORMAT", choices=("text", "json"), help="log format of registry, router and babysitters"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class SystemdSettings:
    """The directories of the site and of svc on a host, and the user that runs them."""

    user: str = setting("infinilm", pattern=patterns.ACCOUNT, help="user that everything runs as")
    group: str = setting(
        "",
        pattern=patterns.ACCOUNT,
        help="group whose members may also use supervisorctl; empty: the user's own group, without that right",
    )
    site: str = setting("/var/lib/infinilm", pattern=patterns.DIRECTORY, help="the site's directory on the host")
    prefix: str = setting(
        "/opt/infinilm-svc", pattern=patterns.DIRECTORY, help="the virtual environment that svc is installed in"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class OnDemandSettings:
    """How the on-demand instances of a host share its GPUs."""

    parallel_loads: int = setting(1, minimum=1, maximum=64, help="instances that may load at once on a host")
    stay_factor: float = setting(
        1.0,
        minimum=0,
        help="an instance gives way when it has at most this number of requests for each second that others have "
        "waited: larger means sooner; 0: never while it has requests",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    registry: RegistrySettings
    router: RouterSettings
    launch: LaunchSettings
    nginx: NginxSettings
    logs: LogSettings
    systemd: SystemdSettings
    on_demand: OnDemandSettings = OnDemandSettings()
    other_components: tuple[str, ...] = ()  # with --only: all components of this host, running or configured

    def has_own(self, component: str) -> bool:
        """Return whether the site's registry or router (`component`) runs on this host, or should run on it."""
        return self.launch.runs(component) or component in self.other_components

    def registry_url(self) -> str:
        """Return the configured comma-separated URLs of registries, else the URL of the registry on this machine."""
        return self.launch.registry_url or f"http://localhost:{self.registry.port}"

    def router_registry_url(self) -> str:
        """Return the comma-separated URLs of the registries that the router uses."""
        return self.router.registry_url or self.registry_url()


SECTIONS: dict[str, type] = {
    "registry": RegistrySettings,
    "router": RouterSettings,
    "launch": LaunchSettings,
    "nginx": NginxSettings,
    "logs": LogSettings,
    "systemd": SystemdSettings,
    "on_demand": OnDemandSettings,
}
_RULES = [rules_of(field) for section in SECTIONS.values() for field in dataclasses.fields(section)]
_VARIABLES = [rules.variable for rules in _RULES if rules.variable]
ENVIRONMENT_VARIABLES = (*_VARIABLES, DEFAULT_HOST_VARIABLE, *COMPONENT_VARIABLES)
