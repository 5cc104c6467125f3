import AttentionContract
import AttentionEngines
import AttentionKernels
import SoftmaxStrategies
import Tensors

/// Luong's local attention with a monotonic alignment: softmax over the keys within `w` of the query's own
/// position, 2 w + 1 of them. A causal mask leaves the own and the w before it.
///
/// What `window(left: w, right: w)` is, under the name and with the width of the paper.
///
/// Luong 2015, arXiv 1508.04025 ("local-m").
public struct LocalMonotonic: PatternStrategy {
  public static let family = StrategyFamily(
    "local_m", operatorClass: .restricted,
    summary: "softmax over the keys within w of the query's own position",
    source: "Luong 2015, arXiv 1508.04025",
    parameters: [StrategyParameter("w", "keys to each side of the position (default 10)")],
    // Windows of all widths are searched as `window`.
    isSweptByDefault: false, candidates: { _, _ in [] }
  ) { arguments throws(AttentionError) in
    LocalMonotonic(width: try arguments.integer("w", atLeast: 1) ?? 10)
  }

  private let width: Int

  init(width: Int) { self.width = width }

  private var window: WindowAttention { WindowAttention(left: width, right: width) }

  public func resolvedParameters(for problem: AttentionProblem) -> String { "\(width)" }

  public func explanation(for problem: AttentionProblem) -> String {
    window.explanation(for: problem)
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    window.pattern(for: geometry)
  }
}
