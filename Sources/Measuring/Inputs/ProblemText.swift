import Attention
import Records
import Statistics
import Units

extension Storage {
  /// As results name them: `fp32`, `bf16`, `fp16 on int8-token`.
  public var label: String {
    query == keyValue ? Self.label(query) : "\(Self.label(query)) on \(Self.label(keyValue))"
  }

  private static func label(_ type: ElementType) -> String {
    switch type {
    case .float32: "fp32"
    case .float16: "fp16"
    case .bfloat16, .int8PerToken, .int8PerChannel: type.rawValue
    }
  }
}

extension AttentionProblem {
  /// The sizes in one line: `b2 h6/3 n33x129 d17/5 causal +7`, where `h6/3` is 6 query heads on 3
  /// key/value heads, `n33x129` 33 queries on 129 keys and `d17/5` head dimension 17 and value
  /// dimension 5; what does not differ is written once.
  public var summary: String {
    let batch = shape.batch > 1 ? ["b\(shape.batch)"] : []
    let heads = "h" + Self.pair(shape.heads, "/", shape.kvHeads)
    let dimensions = "d" + Self.pair(shape.headDim, "/", shape.valueDim)
    return
      (batch + [heads, lengthText, dimensions] + alignmentTexts + logitTexts
      + (storage.isFloat32 ? [] : [storage.label])).joined(separator: " ")
  }

  /// The part of `summary` that a mask has: lengths, causality and alignment, `n33x129 causal +7`.
  public var positionSummary: String {
    ([lengthText] + alignmentTexts).joined(separator: " ")
  }

  private var lengthText: String { "n" + Self.pair(shape.queryLength, "x", shape.keyLength) }

  private var alignmentTexts: [String] {
    let corner: [String] =
      switch visibility.offset {
      case .bottomRight: []
      case .topLeft: ["top-left"]
      case .fixed(let offset): [Self.signed(offset)]
      case .perBatch(let offsets): [offsets.map(Self.signed).joined(separator: ",")]
      }
    let padding = visibility.keyLengths.map {
      "kv-lengths " + $0.map(String.init).joined(separator: ",")
    }
    let limits = [
      visibility.windowLeft.map { "window-left \($0)" },
      visibility.windowRight.map { "window-right \($0)" }, visibility.chunk.map { "chunk \($0)" },
    ].compactMap { $0 }
    return (visibility.causal ? ["causal"] : []) + corner + limits + [padding].compactMap { $0 }
  }

  private var logitTexts: [String] {
    [scoring.softcap.map { "softcap \($0)" }, scoring.sinkLogits == nil ? nil : "sink logits"]
      .compactMap { $0 }
  }

  private static func pair(_ a: Int, _ separator: String, _ b: Int) -> String {
    a == b ? "\(a)" : "\(a)\(separator)\(b)"
  }

  private static func signed(_ offset: Int) -> String { offset < 0 ? "\(offset)" : "+\(offset)" }
}
