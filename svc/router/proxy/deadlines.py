"""Looking after open exchanges where no worker of ours does: under a stock WSGI server."""

from svc.router.proxy.exchange import Exchange
from svc.router.state import State


class Deadlines:
    """Exchanges that are under way. `once` is called every second."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: set[Exchange] = set()

    def watch(self, exchange: Exchange) -> None:
        self._open.add(exchange)

    def once(self) -> None:
        state = self._state
        state.now = state.clock()
        for exchange in list(self._open):
            if exchange.closed:
                self._open.discard(exchange)
            elif exchange.deadline < state.now:
                exchange.interrupt("timeout")
            else:
                exchange.flow()
        state.sweep()
        state.connections.prune(state.now)
