"""The two wire languages: one object per dialect that writes and reads requests and answers.

``naming`` says in what they differ, ``numbers`` how JSON numbers and decimals meet, ``questions`` writes and reads
requests, ``reader`` reads answers (the gateway's side), ``writer`` writes them (the simulator's side), and ``codec``
puts the four together.
"""

from __future__ import annotations

from derivfleet.deriv.dialects.codec import Codec, dialect
from derivfleet.deriv.dialects.numbers import Frame, from_json, json_number, to_json

__all__ = ["Codec", "Frame", "dialect", "from_json", "json_number", "to_json"]
