import ArgumentParser
import Attention
import TensorFiles

/// The values of `--dtype`: how tensors are stored in memory or in a file.
enum FloatingType: String, CaseIterable, ExpressibleByArgument {
  case f32
  case f16
  case bf16

  /// As the library names it.
  var elementType: ElementType {
    switch self {
    case .f32: .float32
    case .f16: .float16
    case .bf16: .bfloat16
    }
  }

  /// As files name it.
  var fileType: TensorElementType {
    switch self {
    case .f32: .float32
    case .f16: .float16
    case .bf16: .bfloat16
    }
  }
}
