import Attention

extension AttentionProblem {
  /// The sizes in one line: `b2 h6/3 n33x129 d17/5 causal +7`, where `h6/3` is 6 query heads on 3
  /// key/value heads, `n33x129` 33 queries on 129 keys and `d17/5` head dimension 17 and value
  /// dimension 5; what does not differ is written once.
  public var summary: String {
    func pair(_ a: Int, _ separator: String, _ b: Int) -> String {
      a == b ? "\(a)" : "\(a)\(separator)\(b)"
    }
    var parts: [String] = []
    if shape.batch > 1 { parts.append("b\(shape.batch)") }
    parts.append("h" + pair(shape.heads, "/", shape.kvHeads))
    parts.append("n" + pair(shape.queryLength, "x", shape.keyLength))
    parts.append("d" + pair(shape.headDim, "/", shape.valueDim))
    if causal { parts.append("causal") }
    switch offset {
    case .bottomRight: break
    case .topLeft: parts.append("top-left")
    case .fixed(let offset): parts.append(Self.signed(offset))
    case .perBatch(let offsets): parts.append(offsets.map(Self.signed).joined(separator: ","))
    }
    if let keyLengths {
      parts.append("kv-lengths " + keyLengths.map(String.init).joined(separator: ","))
    }
    if let softcap { parts.append("softcap \(softcap)") }
    if sinkLogits != nil { parts.append("sink logits") }
    return parts.joined(separator: " ")
  }

  private static func signed(_ offset: Int) -> String { offset < 0 ? "\(offset)" : "+\(offset)" }
}
