"""What a page must not do, however it looks: complain in the console, break the CSP, ask for what isn't there."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Page, Request, Response


class Watch:
    """Collects complaints of pages. Answers of `expected` statuses are none, nor what the console says of them."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.expected: set[int] = set()

    def over(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("requestfailed", self._request_failed)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        told_by_status = "Failed to load resource: the server responded with a status of"
        if message.type in {"error", "warning"} and not message.text.startswith(told_by_status):
            self.complaints.append(f"{message.location.get('url')}: {message.text}")

    def _request_failed(self, request: Request) -> None:
        # Going on to the next page while an htmx request runs takes that request back.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.method} {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.complaints.append(f"{response.request.method} {response.url}: {response.status}")
