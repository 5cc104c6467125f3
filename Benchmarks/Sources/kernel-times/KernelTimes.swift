import ArgumentParser
import Attention
import Foundation
import MachineTopology
import PeerBench
import TextTable

/// Where the cycles go: every micro-kernel alone, as a fraction of what the machine can do.
@main
struct KernelTimes: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernel-times",
    abstract: "Times each micro-kernel alone, on operands in the cache, on one bound core.",
    discussion: """
      Products are held against the fused multiply-add peak of the same instruction set, taken \
      between the pieces; exponentials are work but no operations. Kernels that mostly move data \
      are held against the bandwidth at which one core reads memory, and pass it while their \
      operands fit a cache.
      """)

  @Option(help: "Head dimensions, comma-separated.")
  var dims = "32,64,96,128"

  @Option(help: "Instruction sets, comma-separated; all that this processor runs by default.")
  var isa: String?

  @Option(help: "The core to run on, as in --bind core:N.")
  var core = 0

  @Option(help: "Pieces of each kernel; a piece takes about a third of a millisecond.")
  var pieces = 101

  @Flag(help: "One line a kernel: instruction set, dimension, kernel, nanoseconds a call.")
  var csv = false

  @Option(
    help: "The kernel-times of another build: both run in turns, and their times are compared.")
  var before: String?

  /// How often each of two builds takes its turn: enough for an interval.
  private static let turns = 6

  func run() throws {
    if let before { return try compare(with: before) }
    let team = try WorkerTeam(threads: 1, binding: .cores([core]))
    let tables = try tables()
    let dimensions = try dimensions()
    guard (1...100_000).contains(pieces) else {
      throw ValidationError("--pieces \(pieces): must be in 1...100000")
    }
    let bandwidth = try ReadBandwidth(beyondCachesOf: MachineTopology(), writtenBy: team)
    let readRates = (0..<5).map { _ in bandwidth.reading(on: team) }
    for table in tables {
      let timer = try PieceTimer(table, pieces: pieces, team: team, readRate: readRates.max() ?? 0)
      let figures = try dimensions.flatMap { headDim in
        try KernelBenchmark.Kernel.allCases.map { try timer.time($0, headDim: headDim) }
      }
      if csv {
        for one in figures {
          print("\(table.name),\(one.headDim),\(one.kernel),\(one.median * 1e9)")
        }
      } else {
        print(Self.heading(table, timer))
        print(Self.text(figures))
      }
    }
  }

  /// Exit code 2 where a kernel has become slower.
  private func compare(with before: String) throws {
    let arguments =
      ["--csv", "--dims", dims, "--core", "\(core)", "--pieces", "\(pieces)"]
      + (isa.map { ["--isa", $0] } ?? [])
    let changes = try KernelTurns(before: before, arguments: arguments).changes(turns: Self.turns)
    print(BuildChange.table(changes))
    if changes.contains(where: { $0.verdict == .slower }) { throw ExitCode(2) }
  }

  private func tables() throws -> [KernelTable] {
    guard let isa else { return KernelTable.supported }
    return try isa.split(separator: ",").map { name in
      guard let table = KernelTable.supported.first(where: { $0.name == name }) else {
        let known = KernelTable.supported.map(\.name).joined(separator: ", ")
        throw ValidationError("--isa \(name): this processor runs \(known)")
      }
      return table
    }
  }

  private func dimensions() throws -> [Int] {
    try dims.split(separator: ",", omittingEmptySubsequences: false).map { text in
      guard let value = Int(text), value >= 1 else {
        throw ValidationError("--dims \(text): head dimensions are whole numbers from 1")
      }
      return value
    }
  }

  private static func heading(_ table: KernelTable, _ timer: PieceTimer) -> String {
    "\(table.name): panels of \(table.panelLanes) queries, FMA peak "
      + "\(digits(timer.peak / 1e9)) GFLOP/s, memory read at "
      + "\(digits(timer.readRate / 1e9)) GB/s"
  }

  private static func text(_ figures: [KernelFigure]) -> String {
    TextTable<KernelFigure> { figure in
      [
        Column(title: "d", value: "\(figure.headDim)", align: .right),
        Column(title: "kernel", value: figure.kernel),
        Column(title: "ns a call", value: digits(figure.median * 1e9), align: .right),
        Column(title: "best", value: digits(figure.best / 1e9), align: .right),
        Column(title: "median", value: digits(figure.rate / 1e9), align: .right),
        Column(title: "", value: figure.unit),
        Column(title: "% of limit", value: digits(100 * figure.fraction), align: .right),
      ]
    }.string(for: figures) ?? ""
  }

  /// Three significant digits.
  private static func digits(_ value: Double) -> String {
    let size = abs(value)
    return String(format: "%.\(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2)f", value)
  }
}
