"""The ASGI application of `stream`: native routes run async from socket to socket, all else goes to Django.

application serves them; tenant is the way of a native request into its tenant, answers what a route may give back (JSON, a COPY),
events an answer without an end.
"""

from tenants.native.answers import Copy, Json, send_json
from tenants.native.application import NativeApplication
from tenants.native.asgi import Application, Message, Receive, Route, Scope, Send
from tenants.native.events import Event, Events
from tenants.native.problems import NotNative
from tenants.native.tenant import Caller, NativeRequest, tenant_route

__all__ = [
    "Application",
    "Caller",
    "Copy",
    "Event",
    "Events",
    "Json",
    "Message",
    "NativeApplication",
    "NativeRequest",
    "NotNative",
    "Receive",
    "Route",
    "Scope",
    "Send",
    "send_json",
    "tenant_route",
]
