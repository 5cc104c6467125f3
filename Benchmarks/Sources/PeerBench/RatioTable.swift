import Attention
import AttentionBench

/// attnbench and its peers side by side: a line for each work, thread count and strategy of ours.
public struct RatioTable: Sendable {
  private struct Line {
    let name: String
    let threads: Int
    let ours: ResultRow
    let share: Share
    let others: [String: ResultRow]
  }

  /// What a row is held against, from its own figures.
  private struct Share {
    let isDecoding: Bool
    /// In GFLOP/s, or GB/s where the row is a step of decoding.
    let ceiling: Double?

    init(_ row: ResultRow, _ work: Workload, _ ceilings: [MachineCeiling]) {
      isDecoding = work.isDecoding
      if isDecoding {
        ceiling = row.readShare(ceilings: ceilings).flatMap { share in
          row.gigabytesPerSecond.map { $0 / share }
        }
      } else {
        ceiling = row.work.percentOfPeak.flatMap { percent in
          row.work.gflopPerSecond.map { 100 * $0 / percent }
        }
      }
    }

    var ceilingText: String {
      ceiling.map {
        isDecoding
          ? "\(CompactNumber.decimals($0, 1)) GB/s" : "\(CompactNumber.decimals($0, 0)) GFLOP/s"
      }
        ?? "-"
    }

    /// Percent of the ceiling; of a step of decoding GB/s too.
    func text(_ row: ResultRow) -> String {
      guard let rate = isDecoding ? row.gigabytesPerSecond : row.work.gflopPerSecond else {
        return ""
      }
      let percent = ceiling.map { "\(CompactNumber.decimals(100 * rate / $0, 1)) %" } ?? "-"
      return isDecoding ? "\(CompactNumber.decimals(rate, 1)) GB/s, \(percent)" : percent
    }
  }

  private let peers: [String]
  private let lines: [Line]
  private let failures: [String]

  init(_ kinds: [PeerComparison.Kind]) {
    var lines: [Line] = []
    var failures: [String] = []
    for kind in kinds {
      let rows = Dictionary(kind.rows.map { ($0.cellID, $0) }) { _, later in later }
      for ours in kind.plan.compared where ours.implementation.side == .own {
        guard let row = rows[ours.cell.id] else { continue }
        var others: [String: ResultRow] = [:]
        for other in kind.plan.compared
        where other.implementation.side == .peer && other.work.name == ours.work.name
          && other.cell.placement == ours.cell.placement
        {
          others[other.implementation.name] = rows[other.cell.id]
        }
        let name = ours.work.strategies.count == 1 ? "" : ", \(row.strategy.text)"
        lines.append(
          Line(
            name: ours.work.name + name, threads: row.placement.threads, ours: row,
            share: Share(row, ours.work, kind.ceilings), others: others))
      }
      failures += kind.plan.compared.compactMap { one in
        guard let row = rows[one.cell.id], !row.status.isMeasured else { return nil }
        let reason = row.reason.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return "\(one.work.name), \(row.placement.threads) threads, \(row.strategy.text): "
          + "\(row.status.rawValue), \(reason)"
      }
    }
    // One with no figure at all has no column.
    let shown = Set(lines.flatMap(\.others.keys))
    peers = kinds.first?.plan.peers.filter(shown.contains) ?? []
    self.lines = lines
    self.failures = failures
  }

  /// In Markdown.
  public var text: String {
    var text = "| work | threads | ceiling | attnbench |" + peers.map { " \($0) |" }.joined() + "\n"
    text += "|---|--:|--:|--:|" + String(repeating: "--:|", count: peers.count) + "\n"
    for line in lines {
      let cells = peers.map { Self.cell(line.others[$0], line) }
      text += "| \(line.name) | \(line.threads) | \(line.share.ceilingText) | \(Self.cell(line)) |"
      text += cells.map { " \($0) |" }.joined() + "\n"
    }
    if !failures.isEmpty {
      text += "\nNot measured:\n\n" + failures.map { "- \($0)\n" }.joined()
    }
    return text
  }

  private static func mark(_ row: ResultRow) -> String { row.status == .ok ? "" : "~" }

  private static func cell(_ line: Line) -> String {
    guard line.ours.status.isMeasured, let median = line.ours.time.median else {
      return line.ours.status.rawValue
    }
    return "\(mark(line.ours))\(CompactNumber.seconds(median)), \(line.share.text(line.ours))"
  }

  private static func cell(_ row: ResultRow?, _ line: Line) -> String {
    guard let row else { return "-" }
    guard row.status.isMeasured, let median = row.time.median else { return row.status.rawValue }
    let own = line.ours.status.isMeasured ? line.ours.time.median : nil
    let first =
      own.map { "\(CompactNumber.decimals(median / $0, 2))x" } ?? CompactNumber.seconds(median)
    return "\(mark(row))\(first), \(line.share.text(row))"
  }
}
