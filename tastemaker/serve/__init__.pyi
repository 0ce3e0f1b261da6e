from .client import RemoteReward as RemoteReward
from .client import is_address as is_address
from .client import remote_reward as remote_reward
from .requests import Refusal as Refusal
from .running import serve as serve
from .settings import Serving as Serving
