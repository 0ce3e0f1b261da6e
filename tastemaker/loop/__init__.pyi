from .loop import Loop as Loop
from .loop import LoopResult as LoopResult
from .loop import StageTime as StageTime
from .loop import plan_lines as plan_lines
from .stages import Planned as Planned
from .stages import Stage as Stage
