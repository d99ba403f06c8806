"""An OpenAI-compatible server as the original's TOML files start one: `python3 mock_service.py --name N --port P`."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    models: list[str] = []

    def do_GET(self) -> None:
        is_list = self.path in ("/models", "/v1/models")
        models = {"object": "list", "data": [{"id": model, "object": "model"} for model in self.models]}
        self._answer(200 if is_list else 404, models if is_list else {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": f"from port {self.server.server_port}"}
        self._answer(200, {"model": body["model"], "choices": [{"index": 0, "message": message}]})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", default="test-model")
    arguments = parser.parse_args()
    Handler.models = arguments.models.split(",")
    ThreadingHTTPServer(("0.0.0.0", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
