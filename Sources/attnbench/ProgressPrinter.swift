import AttentionBench
import Foundation

/// Shows on standard error what a sweep is doing: one line a finished cell and, on a terminal, a
/// last line that keeps changing.
final class ProgressPrinter {
  /// Whether the last line may be overwritten.
  private let isLive = Terminal.errorIsTerminal && Terminal.allowsRewriting
  private var hasLiveLine = false

  func show(_ event: SweepEvent) {
    switch event {
    case .sizeStarted, .ceilings: break
    case .cellStarted(let cell): rewrite("\(cell.spec), n = \(cell.n): first run")
    case .progress(let progress): rewrite(Self.text(progress))
    case .cellFinished(let cell, let row): say(Self.text(cell, row))
    case .warning(let text): say("warning: \(text)")
    }
  }

  func show(_ event: ChoiceEvent) {
    switch event {
    case .measuring(let event): show(event)
    case .candidateSeen(let candidate): say(Self.text(candidate))
    case .firstTable: break
    }
  }

  /// Clears the changing line.
  func finish() {
    if hasLiveLine { Terminal.show("\r\u{1B}[K") }
    hasLiveLine = false
  }

  private func say(_ line: String) {
    finish()
    Terminal.say(line)
  }

  private func rewrite(_ line: String) {
    guard isLive else { return }
    let shown = line.prefix(max(20, Terminal.columns - 1))
    Terminal.show("\r\(shown)\u{1B}[K")
    hasLiveLine = true
  }

  private static func text(_ progress: SweepProgress) -> String {
    var parts = [
      "[\(progress.finishedCells)/\(progress.totalCells)] \(progress.cell)",
      "\(progress.samples) sample\(progress.samples == 1 ? "" : "s")",
    ]
    if let median = progress.median {
      let width = progress.relativeHalfWidth.map { CellText.percent($0) } ?? ""
      parts.append("\(TimeSpan.rounded(seconds: median)) ±\(width)")
    }
    if let left = progress.secondsLeft { parts.append("about \(CellText.minutes(left)) left") }
    return parts.joined(separator: ", ")
  }

  private static func text(_ candidate: Candidate) -> String {
    guard let seconds = candidate.seconds else {
      return "\(candidate.strategy): \(candidate.status.rawValue), \(candidate.reason)"
    }
    return "\(candidate.strategy): about \(TimeSpan.rounded(seconds: seconds)), error "
      + CellText.error(candidate.relativeError)
  }

  private static func text(_ cell: SweepCell, _ row: ResultRow) -> String {
    let name = "\(SizeText.short(cell.n)) \(cell.spec) t\(cell.placement.threads)"
    guard row.time.median != nil else { return "\(name): \(row.status.rawValue), \(row.reason)" }
    var parts = ["\(CellText.time(row)) ±\(CellText.interval(row))", "\(row.time.samples) samples"]
    if let share = row.work.percentOfPeak {
      parts.append("\(String(format: "%.1f", share))% of peak")
    }
    if row.status != .ok || !row.reason.isEmpty {
      parts.append(row.status == .ok ? row.reason : "\(row.status.rawValue): \(row.reason)")
    }
    return "\(name): \(parts.joined(separator: ", "))"
  }
}
