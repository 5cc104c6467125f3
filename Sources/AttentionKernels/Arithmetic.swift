import CAttentionKernels
import Tensors

/// In what the products of an attention strategy are multiplied. Weights, sums over blocks of keys and what
/// comes out are fp32 in all of them.
public enum Arithmetic: String, Sendable, Hashable, CaseIterable, Codable {
  /// Fused multiply-adds of fp32 numbers.
  case float32 = "f32"
  /// Dot products of pairs of bf16 numbers: operands are rounded to 8 bits of precision. Denormal
  /// numbers, below 2^-126, count as zeros.
  case bfloat16 = "bf16"
  /// Fused multiply-adds of fp16 numbers: operands are rounded to 11 bits of the largest of their row, sums
  /// over a row or a block of keys to 11 bits each time.
  case float16 = "fp16"
  /// Dot products of 8-bit integers: operands are rounded to 127ths of the largest of their row, weights to
  /// 255ths of the largest of their block (SageAttention: Zhang 2024, arXiv 2410.02367).
  case int8 = "int8"
  /// Scores as with `int8`, weights and values in fp16 where the processor multiplies it, else in fp32.
  case int8Scores = "int8-qk"

  /// The largest error of rounding a number to an operand, relative to the number, or to the largest of its
  /// row where rows have scales.
  public var unitRoundoff: Double {
    switch self {
    case .float32: 0x1p-24
    case .bfloat16: 0x1p-8
    case .float16: 0x1p-11
    case .int8, .int8Scores: 1 / 254
    }
  }

  /// Whether rows of operands are multiplied as fractions of their largest element, and keys and queries less
  /// their mean.
  public var hasRowScales: Bool {
    switch self {
    case .float32, .bfloat16: false
    case .float16, .int8, .int8Scores: true
    }
  }
}

extension Float {
  /// The nearest bf16, ties to even; infinite where that is beyond the largest one.
  package var roundedToBFloat16: Float {
    if !isFinite { return self }
    let half = 0x7FFF + (bitPattern >> 16 & 1)
    return Float(bitPattern: (bitPattern + half) & 0xFFFF_0000)
  }
}

extension Arithmetic {
  /// Calls `body` with a row as it is multiplied where rows have no scales: of fp32 the row itself, of bf16
  /// its elements rounded, and denormal ones as zeros, in `buffer`.
  package func withOperands<Result>(
    _ row: UnsafePointer<Float>, _ count: Int, _ buffer: inout [Float],
    _ body: (UnsafePointer<Float>) -> Result
  ) -> Result {
    if self != .bfloat16 { return body(row) }
    buffer.removeAll(keepingCapacity: true)
    for index in 0..<count {
      let rounded = row[index].roundedToBFloat16
      buffer.append(rounded.isSubnormal ? 0 : rounded)
    }
    // A row has at least one element.
    return buffer.withUnsafeBufferPointer { $0.baseAddress.map(body) ?? body(row) }
  }
}

extension KernelTable {
  /// Whether the table's panels can be multiplied so on this processor.
  public func runs(_ arithmetic: Arithmetic) -> Bool {
    attn_format_supported(functions, OperandFormat(arithmetic, in: self).code) != 0
  }

  /// The arithmetics that this processor has.
  public var arithmetics: [Arithmetic] { Arithmetic.allCases.filter { runs($0) } }
}

extension Arithmetic {
  /// Checks that products can be taken so.
  ///
  /// - Throws: `AttentionError` that says what there is instead, where they cannot.
  package func refuseWhereMissing(in kernels: KernelTable) throws(AttentionError) {
    if kernels.runs(self) { return }
    let instructions =
      switch self {
      case .float32: "no processor is without them"
      case .bfloat16: "AVX-512 with AVX512_BF16 has"
      case .float16: "AVX-512 with AVX512_FP16 has"
      case .int8, .int8Scores: "AVX-512 with AVX512_VNNI and AVX2 with AVX_VNNI have"
      }
    let others = kernels.arithmetics.map(\.rawValue).joined(separator: ", ")
    throw AttentionError(
      .invalidArgument, argument: "arithmetic", value: rawValue,
      advice: "the \(kernels.name) kernels have no such products on this processor "
        + "(\(instructions)); it has \(others)")
  }
}
