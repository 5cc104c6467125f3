// `import Attention` is all a user of the library writes.
@_exported import AttentionContract
@_exported import AttentionEngines
@_exported import AttentionKernels
@_exported import EarlyStrategies
@_exported import RecurrentStrategies
@_exported import SelectedStrategies
@_exported import SoftmaxStrategies
@_exported import Tensors
