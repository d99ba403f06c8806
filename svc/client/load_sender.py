"""Sends loads of instances to the registry, on a connection that stays open: a load is sent every few seconds."""

from contextlib import suppress

import msgspec
import urllib3

from svc.base.ca_certificates import library_ca
from svc.base.errors import SvcError
from svc.client.registry import RegistryClient
from svc.protocol.instance_load import InstanceLoad

TIMEOUT_SECONDS = 5.0


class LoadSender:
    """Sends loads to the registry that `client` used last, with the secret and the token of `client`."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        timeout = urllib3.Timeout(TIMEOUT_SECONDS)
        self._pools = urllib3.PoolManager(num_pools=1, ca_certs=library_ca(), retries=False, timeout=timeout)

    def send(self, name: str, load: InstanceLoad) -> bool | None:
        """Send the load of the service `name`; return whether the registry has accepted it, None if it does not answer.

        An older registry does not know the path, and refuses the load.
        """
        if not self._client.urls:
            return False
        url = f"{self._client.urls[0]}/services/{name}/load"
        with suppress(urllib3.exceptions.HTTPError, SvcError):
            headers = {**self._client.request_headers(), "Content-Type": "application/json"}
            answer = self._pools.request("POST", url, body=msgspec.json.encode(load), headers=headers, redirect=False)
            return answer.status == 200 if answer.status < 500 else None
        return None
