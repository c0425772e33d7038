"""The first example of PEP 3333, and a middleware around it.

    viaduct serve examples/simple_app
"""


def simple_app(environ, start_response):
    """Simplest possible application object"""
    status = "200 OK"
    response_headers = [("Content-Type", "text/plain")]
    start_response(status, response_headers)
    return [b"Hello world!\n"]


class Upper:
    """A middleware: an application to the server, a server to the application."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        def start_upper(status, headers, exc_info=None):
            # The body is about to be changed: what the application says of its length is its own.
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            write = start_response(status, headers, exc_info)
            return lambda data: write(data.upper())

        return UpperBody(self.application(environ, start_upper))


class UpperBody:
    """One block for each block, so that nothing waits; and close() is passed on."""

    def __init__(self, body):
        self.body = body
        self.blocks = iter(body)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks).upper()

    def close(self):
        if hasattr(self.body, "close"):
            self.body.close()


application = Upper(simple_app)
