import AttentionContract
import AttentionKernels
import Tensors

/// The parameter of strategies over the softmax engine that says what they multiply in.
public enum ArithmeticParameter {
  /// What users may write.
  public static let declaration = StrategyParameter(
    "arithmetic",
    "f32, bf16, fp16, int8 or int8-qk (scores alone): what is multiplied, where the processor has it; "
      + "topo says which are faster")

  /// What they wrote; fp32 where they did not.
  ///
  /// - Throws: `AttentionError` where the processor has no such products.
  public static func read(_ arguments: StrategyArguments) throws(AttentionError) -> Arithmetic {
    let arithmetic: Arithmetic = try arguments.choice(declaration.label) ?? .float32
    try arithmetic.refuseWhereMissing(in: .active)
    return arithmetic
  }

  /// As it would be written beside other resolved parameters; nothing for fp32.
  public static func resolved(_ arithmetic: Arithmetic) -> [String] {
    arithmetic == .float32 ? [] : ["\(declaration.label): \(arithmetic.rawValue)"]
  }
}
