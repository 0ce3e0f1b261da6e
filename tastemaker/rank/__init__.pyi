from .exporting import FORMATS as FORMATS
from .exporting import export as export
from .forms import Form as Form
from .forms import read_form as read_form
from .overview import Overview as Overview
from .overview import overview as overview
from .running import rank as rank
from .settings import Judging as Judging
