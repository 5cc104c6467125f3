import ArgumentParser
import Attention

/// How the tensors of a problem are stored.
struct StorageOptions: ParsableArguments {
  @Option(help: "Store q, k, v and the output as f32, f16 or bf16; sums are fp32 whatever it is.")
  var dtype = FloatingType.f32

  /// The element types asked for.
  var elements: Storage { Storage(dtype.elementType) }
}
