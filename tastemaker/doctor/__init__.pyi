from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import doctor as doctor
from .problems import Problem as Problem
from .problems import excerpt as excerpt
