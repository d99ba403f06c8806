"""Look up the API keys that engines require in requests."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from svc.base.errors import SvcError
from svc.base.secret_file import read
from svc.config import upstream_keys
from svc.config.instance.load import load_one
from svc.config.site import Site
from svc.management.fleet import EngineInstance
from svc.protocol.engine_key import parse_key
from svc.settings import Settings


def engine_keys(site: Site, settings: Settings) -> Callable[[EngineInstance], str]:
    """Return a function that returns the API key of an instance.

    The key comes from the TOML of this site whose instance has the same URL. If there is no such key, it comes from
    upstream_keys_file, which contains keys for instance names and for models.
    """
    file = settings.router.upstream_keys_file
    keys = upstream_keys.load(Path(file)) if file else upstream_keys.UpstreamKeys()
    keys_by_url = dict(_keys_of_site(site, settings))
    return lambda instance: keys_by_url.get(instance.url) or keys.find(instance.name, instance.models)


def _keys_of_site(site: Site, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the URL and the key of each instance of this site that has a key.

    Broken files are skipped, because `svc check` reports them.
    """
    for path in site.tomls(configs=settings.launch.babysitter_configs):
        with suppress(SvcError):
            config = load_one(path, settings)
            if config.backend.api_key_file:
                yield config.url, read(Path(config.backend.api_key_file), parse_key, "[backend] api_key_file")
