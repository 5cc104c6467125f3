import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Softmax over a window of keys around each query, with global tokens and sink tokens.
///
/// `window(w)` is `w` keys: the query's own and the `w - 1` before it under a causal mask,
/// `w / 2` to each side otherwise (`w` even) or `(w - 1) / 2` to each side (`w` odd). `left` and
/// `right` give the inclusive distances instead, -1 for no limit. The first `global` tokens see every key and are
/// seen by every query; the first `sinks` keys are seen by every query. A causal mask holds for
/// all of them. Work: about n w pairs a head.
///
/// Beltagy 2020, arXiv 2004.05150 (window and global tokens); Jiang 2023, arXiv 2310.06825 (causal
/// window); Xiao 2023, arXiv 2309.17453 (sink tokens).
public struct WindowAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "window", operatorClass: .restricted,
    summary: "keys within a window, plus global and sink tokens",
    source:
      "Beltagy 2020, arXiv 2004.05150; Jiang 2023, arXiv 2310.06825; Xiao 2023, arXiv 2309.17453",
    parameters: [
      StrategyParameter("w", "keys in the window (default 512)"),
      StrategyParameter("global", "leading tokens that see and are seen by all (default 0)"),
      StrategyParameter("sinks", "leading keys that all queries see (default 0)"),
      StrategyParameter("left", "keys before the query, instead of w; -1 for all (default 0)"),
      StrategyParameter("right", "keys after the query, likewise; a causal mask makes it 0"),
      ArithmeticParameter.declaration,
    ], candidates: candidateSeries
  ) { arguments throws(AttentionError) in try WindowAttention(arguments) }

  private let width: Int
  private let global: Int
  private let sinks: Int
  private let left: Int?
  private let right: Int?
  public let arithmetic: Arithmetic

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    width = try arguments.integer("w", atLeast: 1) ?? 512
    global = try arguments.integer("global", atLeast: 0) ?? 0
    sinks = try arguments.integer("sinks", atLeast: 0) ?? 0
    left = try arguments.integer("left", atLeast: -1)
    right = try arguments.integer("right", atLeast: -1)
    arithmetic = try ArithmeticParameter.read(arguments)
    if let w = arguments.text("w"), left != nil || right != nil {
      throw AttentionError(
        .invalidArgument, argument: "window w", value: w,
        advice: "give either w or left and right, not both")
    }
  }

  /// The keys within two distances, inclusive.
  package init(left: Int, right: Int) {
    (width, global, sinks) = (left + right + 1, 0, 0)
    (self.left, self.right) = (left, right)
    arithmetic = .float32
  }

  /// A distance beyond every key.
  private static let unlimited = 2 * AttentionShape.maximumLength

  private static func text(_ distance: Int, unlimited: String) -> String {
    distance == Self.unlimited ? unlimited : "\(distance)"
  }

  /// The inclusive distances in force.
  private func reach(causal: Bool) -> (left: Int, right: Int) {
    if left != nil || right != nil {
      let (left, right) = (left ?? 0, causal ? 0 : right ?? 0)
      return (left < 0 ? Self.unlimited : left, right < 0 ? Self.unlimited : right)
    }
    return causal ? (width - 1, 0) : (width / 2, width / 2)
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    var parts: [String]
    if left != nil || right != nil {
      let reach = reach(causal: problem.visibility.causal)
      parts = [
        "left: " + Self.text(reach.left, unlimited: "-1"),
        "right: " + Self.text(reach.right, unlimited: "-1"),
      ]
    } else {
      parts = ["\(width)"]
    }
    if global > 0 { parts.append("global: \(global)") }
    if sinks > 0 { parts.append("sinks: \(sinks)") }
    return (parts + ArithmeticParameter.resolved(arithmetic)).joined(separator: ", ")
  }

  /// Windows from 16 keys to nearly all pairs, alone and with sink tokens: a series for each number
  /// of sinks. Not causal, a window has to be 3 n / 2 wide for that, having two sides.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let keys = problem.shape.keyLength
    let widths = density.sizes(
      from: min(16, keys), through: problem.visibility.causal ? keys : keys + keys / 2)
    let sinks = density == .search ? [0, 1, 4, 16, 64] : [0, 1, 2, 4, 8, 16, 64, 256]
    return sinks.filter { $0 < keys }.map { sinks in
      widths.map { sinks == 0 ? "\(family.name)(\($0))" : "\(family.name)(\($0), sinks: \(sinks))" }
    }
  }

  public func explanation(for problem: AttentionProblem) -> String {
    let reach = reach(causal: problem.visibility.causal)
    return "left " + Self.text(reach.left, unlimited: "unlimited") + ", right "
      + Self.text(reach.right, unlimited: "unlimited")
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    let reach = reach(causal: geometry.causal)
    return WindowPattern(
      geometry: geometry, left: reach.left, right: reach.right, global: global, sinks: sinks)
  }
}

/// Keys `p - left ... p + right`, the first `sinks` keys, and the first `global` keys and rows.
struct WindowPattern: KeyPattern {
  let geometry: MaskGeometry
  let left: Int
  let right: Int
  let global: Int
  let sinks: Int

  func includes(position: Int, key: Int) -> Bool {
    let isGlobalRow = (0..<global).contains(position)
    let near = key >= position - left && key <= position + right
    return geometry.visible(from: position).contains(key)
      && (near || key < sinks || key < global || isGlobalRow)
  }

  var rowStrides: [Int] { [1] }

  /// Keys everybody sees.
  private var prefix: Int { min(max(sinks, global), geometry.keyLength) }

  /// One sequence of all keys, or the prefix and the rest: a row's window beyond the prefix is
  /// not contiguous with it.
  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    let all = KeySequence(0..<geometry.keyLength)
    return prefix == 0 ? [all] : [all, all]
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let visible = geometry.visible(from: position)
    if index == 1 { return visible.clamped(to: 0..<prefix) }
    let rest = visible.clamped(to: prefix..<geometry.keyLength)
    if (0..<global).contains(position) { return rest }
    let end = max(position + right + 1, position - left)
    return (position - left..<end).clamped(to: rest)
  }
}
