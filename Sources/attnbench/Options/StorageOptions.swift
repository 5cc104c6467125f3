import ArgumentParser
import Attention

/// How the tensors of a problem are stored.
struct StorageOptions: ParsableArguments {
  /// The values of `--dtype`.
  enum StoredType: String, CaseIterable, ExpressibleByArgument {
    case f32
    case f16
    case bf16

    var elementType: ElementType {
      switch self {
      case .f32: .float32
      case .f16: .float16
      case .bf16: .bfloat16
      }
    }
  }

  @Option(help: "Store q, k, v and the output as f32, f16 or bf16; sums are fp32 whatever it is.")
  var dtype = StoredType.f32

  /// The element types asked for.
  var elements: ElementTypes { ElementTypes(dtype.elementType) }
}
