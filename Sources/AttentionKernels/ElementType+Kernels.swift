import CAttentionKernels
import Tensors

extension ElementType {
  /// The kernels' word for it.
  package var storage: attn_storage {
    switch self {
    case .float32: ATTN_FLOAT32
    case .float16: ATTN_FLOAT16
    case .bfloat16: ATTN_BFLOAT16
    case .int8PerToken: ATTN_INT8_PER_TOKEN
    case .int8PerChannel: ATTN_INT8_PER_CHANNEL
    }
  }
}
