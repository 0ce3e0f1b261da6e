from .optimizers import Muon as Muon
from .optimizers import restore_state as restore_state
from .optimizers import state_tensors as state_tensors
from .run import CONTRACT as CONTRACT
from .run import Checkpoint as Checkpoint
from .run import Run as Run
from .run import model_folder as model_folder
