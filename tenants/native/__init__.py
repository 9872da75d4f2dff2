"""The ASGI application of `stream`: native routes run async from socket to socket, all else goes to Django.

application serves them; tenant is the way of a native request into its tenant, answers what a route may give back (JSON, a download),
events an answer without an end, cors which page may read it.
"""

from tenants.native.answers import Answer, Copy, Download, Json, send_json
from tenants.native.application import NativeApplication
from tenants.native.asgi import Application, Message, Receive, Route, Scope, Send
from tenants.native.cors import origin_headers
from tenants.native.events import Event, Events
from tenants.native.problems import NotNative
from tenants.native.tenant import Caller, NativeRequest, callers_allowed, tenant_route

__all__ = [
    "Answer",
    "Application",
    "Caller",
    "Copy",
    "Download",
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
    "callers_allowed",
    "origin_headers",
    "send_json",
    "tenant_route",
]
