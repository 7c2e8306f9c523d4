"""Serves moto's DynamoDB on a free port of the loopback, says which, and ends with its owner."""

import os
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


def end_with_the_owner() -> None:
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_the_owner, daemon=True).start()
# One request at a time: moto judges a condition and then writes, which only the service does at once.
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
