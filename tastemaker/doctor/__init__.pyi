from .catalogue import Problem as Problem
from .catalogue import excerpt as excerpt
from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import doctor as doctor
from .judges import distances_to_others as distances_to_others
from .judges import expected_distance as expected_distance
from .judges import krippendorff_alpha as krippendorff_alpha
from .judges import pairwise_agreement as pairwise_agreement
