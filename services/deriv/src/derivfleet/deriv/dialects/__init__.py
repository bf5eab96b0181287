"""The two wire languages: one object per dialect that writes and reads requests and answers.

``naming`` says in what they differ, ``numbers`` how JSON numbers and decimals meet, ``request_frames`` writes and reads
requests. ``reading_account`` and ``reading_market`` read answers (the gateway's side), ``writing_account`` and
``writing_market`` write them (the simulator's side); ``codec`` puts all together.
"""

from __future__ import annotations

from derivfleet.deriv.dialects.codec import Codec, dialect
from derivfleet.deriv.dialects.numbers import Frame, from_json, json_number, to_json

__all__ = ["Codec", "Frame", "dialect", "from_json", "json_number", "to_json"]
