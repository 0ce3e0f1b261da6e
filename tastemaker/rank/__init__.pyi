from .running import rank as rank
from .settings import Judging as Judging
