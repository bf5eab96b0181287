"""A gateway and its bots before the simulator's exchange: one process, no sockets, virtual time.

A test speaks to the gateway over its gRPC services, decides how far the clocks of gateway and Deriv are apart, and may
change every frame between the two. Minutes take milliseconds. ``gateway`` alone names rooms of the gateway.
"""

from tests.virtual_gateway.clock import virtual_time
from tests.virtual_gateway.deriv import Deriv, Frame, Socket
from tests.virtual_gateway.gateway import DIGITS, EAGER, TIMED, VirtualGateway, state_of, virtual_gateway

__all__ = [
    "DIGITS",
    "EAGER",
    "TIMED",
    "Deriv",
    "Frame",
    "Socket",
    "VirtualGateway",
    "state_of",
    "virtual_gateway",
    "virtual_time",
]
