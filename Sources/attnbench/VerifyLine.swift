import AttentionBench
import Foundation

/// One line of `attnbench verify`.
enum VerifyLine {
  static let header =
    "      " + pad("strategy", strategyWidth) + pad("rel L2 error <= bound", numberWidth)
    + pad("max error <= bound", numberWidth) + pad("LSE error <= bound", numberWidth)
    + pad("rows", 6) + "problem"

  static func text(_ result: Verification, _ problem: VerificationProblem) -> String {
    let name = pad(result.strategy, strategyWidth)
    switch result.outcome {
    case .pass(let comparison):
      return "PASS  " + name + numbers(comparison) + problem.description
    case .fail(let comparison):
      return "FAIL  " + name + numbers(comparison) + problem.description
    case .refused(let error):
      return "FAIL  " + name + "\(problem.description): refused: \(error)"
    case .unserved(let error):
      return "SKIP  " + name + "\(problem.description): \(error)"
    case .skipped(let needed, let limit):
      return "SKIP  " + name + "\(problem.description): needs \(needed.rounded) of memory, "
        + "\(limit.rounded) (80% of what is available) may be used"
    }
  }

  private static let strategyWidth = 22
  private static let numberWidth = 23

  private static func numbers(_ comparison: Verification.Comparison) -> String {
    let (errors, bounds) = (comparison.errors, comparison.bounds)
    return pad(within(errors.relativeL2, bounds.relativeL2), numberWidth)
      + pad(within(errors.maximum, bounds.maximum), numberWidth)
      + pad(within(errors.logSumExp, bounds.logSumExp), numberWidth)
      + pad("\(comparison.rowsChecked)", 6)
  }

  private static func within(_ error: Double, _ bound: Double) -> String {
    "\(scientific(error)) \(error <= bound ? "<=" : "> ") \(scientific(bound))"
  }

  private static func scientific(_ value: Double) -> String {
    value == 0 ? "0      " : String(format: "%.1e", value)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(width - text.count, 1))
  }
}

/// The last line of `attnbench verify`.
struct VerifyTally {
  private(set) var passed = 0
  private(set) var failed = 0
  private var unserved = 0
  private var tooLarge = 0

  mutating func add(_ result: Verification) {
    switch result.outcome {
    case .pass: passed += 1
    case .fail, .refused: failed += 1
    case .unserved: unserved += 1
    case .skipped: tooLarge += 1
    }
  }

  /// Whether nothing was held against anything: no problem, or none that a strategy serves and memory is
  /// enough for.
  var isEmpty: Bool { passed + failed == 0 }

  var summary: String {
    let skipped = unserved + tooLarge
    if isEmpty {
      let reasons = [
        unserved == 0 ? nil : "\(unserved) not served by the strategy",
        tooLarge == 0 ? nil : "\(tooLarge) for want of memory",
      ].compactMap { $0 }
      return "NOTHING CHECKED: \(skipped) skipped"
        + (reasons.isEmpty ? "" : ", " + reasons.joined(separator: ", "))
    }
    let skippedText = skipped == 0 ? "" : ", \(skipped) skipped"
    return failed == 0
      ? "PASS: \(passed) checks\(skippedText)"
      : "FAIL: \(failed) of \(passed + failed) checks failed\(skippedText)"
  }
}
