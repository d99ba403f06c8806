"""Looking after open exchanges where no worker of ours does: under a stock WSGI server."""

from svc.router.forward import Exchange
from svc.router.state import State


class Deadlines:
    """Exchanges and when each must be over. `once` is called every second."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: dict[Exchange, float] = {}

    def watch(self, exchange: Exchange) -> None:
        self._open[exchange] = self._state.clock() + self._state.settings.proxy_timeout

    def close(self, exchange: Exchange) -> None:
        self._open.pop(exchange, None)
        exchange.close()

    def once(self) -> None:
        state = self._state
        state.now = state.clock()
        for exchange, deadline in list(self._open.items()):
            if deadline < state.now:
                exchange.interrupt("timeout")
        state.connections.prune(state.now)
