"""What the experiments of one run share: sensors and counters, the governor, the idle machine.

A `Session` is made before anything runs, begun with what was selected, and closed at the end; it
hands out what runs trainings. Its `Recorder` leaves exactly one record for every experiment.
"""

from wattest.session.member import Member, new_session_id
from wattest.session.recorder import Recorder
from wattest.session.session import Session, SessionOptions

__all__ = ["Member", "Recorder", "Session", "SessionOptions", "new_session_id"]
