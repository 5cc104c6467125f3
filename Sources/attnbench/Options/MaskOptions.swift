import ArgumentParser
import Attention

/// Where queries stand among keys and whether they see ahead.
struct PositionOptions: ParsableArguments {
  @Flag(help: "Let each query see only keys up to its own position.")
  var causal = false

  /// The corner a causal mask or a window is aligned to.
  enum Alignment: String, CaseIterable, ExpressibleByArgument {
    case topLeft = "top-left"
    case bottomRight = "bottom-right"
  }

  @Option(help: "The first query at the first key, or the last at the last (default).")
  var align: Alignment?

  @Option(
    parsing: .unconditional,
    help: "Query i stands at position i + N, instead of --align.")
  var queryOffset: Int?

  /// The alignment asked for.
  ///
  /// - Throws: `UsageError` when both ways to say it were used.
  func offset() throws(UsageError) -> QueryOffset {
    if let queryOffset {
      if let align {
        throw UsageError(
          "--query-offset \(queryOffset): contradicts --align \(align.rawValue); give one of them")
      }
      return .fixed(queryOffset)
    }
    return align == .topLeft ? .topLeft : .bottomRight
  }
}

/// Scale and mask of a problem: what it is, beyond its sizes.
struct MaskOptions: ParsableArguments {
  @OptionGroup var positions: PositionOptions

  @Option(parsing: .unconditional, help: "Factor on the scores (default: 1/sqrt(head dim)).")
  var scale: Float?

  /// Whether the mask is causal.
  var causal: Bool { positions.causal }
  /// The corner asked for, if any.
  var align: PositionOptions.Alignment? { positions.align }
  /// The offset asked for, if any.
  var queryOffset: Int? { positions.queryOffset }

  /// The problem of this scale and mask on a shape.
  ///
  /// - Parameter causal: overrides the flag.
  /// - Throws: `UsageError` naming the option at fault.
  func problem(
    _ shape: AttentionShape, causal: Bool? = nil, keyLengths: [Int]? = nil,
    softcap: Float? = nil, sinkLogits: [Float]? = nil, elements: ElementTypes = ElementTypes()
  ) throws(UsageError) -> AttentionProblem {
    let offset = try positions.offset()
    do throws(AttentionError) {
      return try AttentionProblem(
        shape, scale: scale, causal: causal ?? self.causal, offset: offset, keyLengths: keyLengths,
        softcap: softcap, sinkLogits: sinkLogits, elements: elements)
    } catch {
      throw UsageError(naming: error)
    }
  }
}

extension UsageError {
  /// The option by which the command line sets an argument of the library.
  private static let options = [
    "batch": "--batch", "heads": "--heads", "kvHeads": "--kv-heads", "queryLength": "--n",
    "keyLength": "--n-kv", "headDim": "--head-dim", "valueDim": "--value-dim",
    "scale": "--scale", "offset": "--query-offset", "head": "--head",
    "keyLengths": "--kv-lengths", "softcap": "--softcap", "sinkLogits": "--sink-logits",
  ]

  /// The library's error, with its argument named as the command line names it.
  init(naming error: AttentionError) {
    if let option = Self.options[error.argument] {
      let advice = error.advice.replacing("kvHeads", with: "kv-heads")
        .replacing("headDim", with: "head-dim")
      self.init("\(option) \(error.value): \(advice)")
    } else {
      self.init(error.description)
    }
  }
}
