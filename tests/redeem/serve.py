# SPDX-License-Identifier: Apache-2.0
"""Serves acme2certifier with our plug-in over TLS on a free loopback port, and prints the port. For tests.

Usage: serve.py CERTIFICATE KEY (both PEM). The environment names the two configurations; see ca.cfg.
"""

import ssl
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import tn_authority_acme2certifier as plugin


class Server(ThreadingMixIn, WSGIServer):
    """One thread a connection, so that nobody who is slow holds up the others."""

    daemon_threads = True
    request_queue_size = 64

    def server_bind(self):
        # Without asking a name server for the name of 127.0.0.1.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()
        self.base_environ["HTTPS"] = "on"


class Handler(WSGIRequestHandler):
    """Without name resolution."""

    timeout = 30

    def address_string(self):
        return self.client_address[0]


def main():
    """Serves until the process is ended."""
    certificate, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    application = plugin.start()
    server = Server(("127.0.0.1", 0), Handler)
    # The handshake belongs to the thread of the connection, not to the one that accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.set_app(application)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
