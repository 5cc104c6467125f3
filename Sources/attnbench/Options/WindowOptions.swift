import ArgumentParser
import Attention

/// The window as numbers of its own, for those who know it from ONNX or FlashAttention.
struct WindowOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "Keys before its own position that a query sees, -1 for all: window(left: N).",
    transform: Count.parse)
  var windowLeft: Int?

  @Option(
    parsing: .unconditional,
    help: "Keys after it, likewise; 0 under --causal: window(right: N).",
    transform: Count.parse)
  var windowRight: Int?

  @Option(
    parsing: .unconditional, help: "Leading keys that all queries see beside the window.",
    transform: Count.parse)
  var sinks: Int?

  /// The first of them that was given, as typed.
  var given: String? {
    windowLeft.map { "--window-left \($0)" } ?? windowRight.map { "--window-right \($0)" }
      ?? sinks.map { "--sinks \($0)" }
  }

  /// Whether they are a window of `width` keys before the own one and, unless causal, after it.
  func isWindow(_ width: Int, causal: Bool) -> Bool {
    windowLeft == width && (causal || windowRight == width) && (sinks ?? 0) == 0
  }

  /// The strategy they stand for, as text; nil where none was given.
  ///
  /// - Throws: `UsageError` naming the option at fault.
  func strategy() throws(UsageError) -> String? {
    for (option, value) in [("--window-left", windowLeft), ("--window-right", windowRight)] {
      if let value, value < -1 {
        throw UsageError("\(option) \(value): must be a number of keys, or -1 for all")
      }
    }
    if windowLeft == nil, windowRight == nil {
      if let sinks {
        throw UsageError("--sinks \(sinks): stand beside a window; give --window-left")
      }
      return nil
    }
    if let sinks, sinks < 0 {
      throw UsageError("--sinks \(sinks): must be a number of keys, 0 or more")
    }
    let window = "left: \(windowLeft ?? -1), right: \(windowRight ?? -1)"
    return "window(\(window)\(sinks.map { ", sinks: \($0)" } ?? ""))"
  }
}
