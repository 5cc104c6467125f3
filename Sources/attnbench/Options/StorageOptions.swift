import ArgumentParser
import Attention

/// How the tensors of a problem are stored.
struct StorageOptions: ParsableArguments {
  @Option(help: "Store q, k, v and the output as f32, f16 or bf16; sums are fp32 whatever it is.")
  var dtype = ElementType.float32

  /// The element types asked for.
  var elements: Storage { Storage(dtype) }
}

/// The values of `--dtype`: those that queries and outputs can have.
extension ElementType: ExpressibleByArgument {
  public init?(argument: String) {
    guard let type = ElementType(rawValue: argument), type.isFloatingPoint else { return nil }
    self = type
  }

  public var defaultValueDescription: String { rawValue }

  public static var allValueStrings: [String] {
    allCases.filter(\.isFloatingPoint).map(\.rawValue)
  }
}
