import CAttentionKernels
import Tensors

/// In what the products of an attention strategy are multiplied. Sums are fp32 in either.
public enum Arithmetic: String, Sendable, Hashable, CaseIterable, Codable {
  /// Fused multiply-adds of fp32 numbers.
  case float32 = "f32"
  /// Dot products of pairs of bf16 numbers: operands are rounded to 8 bits of precision. Denormal
  /// numbers, below 2^-126, count as zeros.
  case bfloat16 = "bf16"

  /// The largest relative error of rounding a number to an operand, 2^-24 or 2^-8.
  public var unitRoundoff: Double {
    switch self {
    case .float32: 0x1p-24
    case .bfloat16: 0x1p-8
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
  /// Calls `body` with a row as it is multiplied: of fp32 the row itself, of bf16 its elements
  /// rounded, and denormal ones as zeros, in `buffer`.
  package func withOperands<Result>(
    _ row: UnsafePointer<Float>, _ count: Int, _ buffer: inout [Float],
    _ body: (UnsafePointer<Float>) -> Result
  ) -> Result {
    if self == .float32 { return body(row) }
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
    attn_format_supported(functions, arithmetic.format) != 0
  }
}

extension Arithmetic {
  /// Checks that products can be taken so.
  ///
  /// - Throws: `AttentionError` that says what to do, where they cannot.
  package func refuseWhereMissing(in kernels: KernelTable) throws(AttentionError) {
    if kernels.runs(self) { return }
    throw AttentionError(
      .invalidArgument, argument: "arithmetic", value: rawValue,
      advice: "the \(kernels.name) kernels have no such products on this processor "
        + "(AVX-512 with AVX512_BF16 has); leave it out")
  }
}
