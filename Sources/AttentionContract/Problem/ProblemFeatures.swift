import AttentionKernels
import Tensors

/// What a problem asks for beyond softmax(scale Q K^T) V under a causal mask.
package struct ProblemFeatures: OptionSet, Sendable {
  package let rawValue: Int
  package init(rawValue: Int) { self.rawValue = rawValue }
  package static let queryLengths = ProblemFeatures(rawValue: 1 << 0)
  package static let prefix = ProblemFeatures(rawValue: 1 << 1)
  package static let mask = ProblemFeatures(rawValue: 1 << 2)
  package static let bias = ProblemFeatures(rawValue: 1 << 3)
  package static let alibi = ProblemFeatures(rawValue: 1 << 4)
  package static let softcap = ProblemFeatures(rawValue: 1 << 5)
  package static let sinkLogits = ProblemFeatures(rawValue: 1 << 6)
  /// Windows and chunks of positions.
  package static let window = ProblemFeatures(rawValue: 1 << 7)
}

extension AttentionProblem {
  /// The features in use with the argument that asks for each and its value.
  private var used: [(feature: ProblemFeatures, argument: String, value: String)] {
    var used: [(feature: ProblemFeatures, argument: String, value: String)] = []
    if let queryLengths = visibility.queryLengths {
      used.append((.queryLengths, "queryLengths", "\(queryLengths)"))
    }
    if let prefixLengths = visibility.prefixLengths {
      used.append((.prefix, "prefixLengths", "\(prefixLengths)"))
    }
    for (argument, count) in [
      ("windowLeft", visibility.windowLeft), ("windowRight", visibility.windowRight),
      ("chunk", visibility.chunk),
    ] {
      if let count { used.append((.window, argument, "\(count)")) }
    }
    if let mask = visibility.mask { used.append((.mask, "mask", "\(mask.shape)")) }
    if let bias = visibility.bias { used.append((.bias, "bias", "\(bias.shape)")) }
    if let alibiSlopes = visibility.alibiSlopes {
      used.append((.alibi, "alibiSlopes", "\(alibiSlopes.count) values"))
    }
    if let softcap = scoring.softcap { used.append((.softcap, "softcap", "\(softcap)")) }
    if let sinkLogits = scoring.sinkLogits {
      used.append((.sinkLogits, "sinkLogits", "\(sinkLogits.count) values"))
    }
    return used
  }

  /// Refuses a problem that asks for any of `features`.
  ///
  /// - Throws: `AttentionError` naming the first argument that does.
  package func refuse(_ features: ProblemFeatures, advice: String) throws(AttentionError) {
    guard let first = used.first(where: { features.contains($0.feature) }) else { return }
    throw AttentionError(
      .invalidArgument, argument: first.argument, value: first.value, advice: advice)
  }
}
