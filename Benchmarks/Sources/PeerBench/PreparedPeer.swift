import Attention
import AttentionBench
import Foundation
import PeerProtocol
import TensorFiles

/// A case that a peer's process is ready to run.
final class PreparedPeer: PreparedCell {
  /// How often a turn calls: several times where a call is so short that the clock and the first
  /// call after a pause would show, and some calls before them that are not timed.
  struct Turn: Equatable {
    /// The timed calls of a turn last this long together.
    static let seconds = 5e-3
    /// Above this a sleeping thread pool's first call costs nothing that can be seen.
    static let warmBelow = 50e-3
    static let mostRepeats = 50

    let warm: Int
    let repeats: Int

    /// - Parameter seconds: what one call takes, roughly.
    init(call seconds: Double) {
      repeats = max(1, min(Self.mostRepeats, Int((Self.seconds / max(seconds, 1e-9)).rounded())))
      warm = seconds >= Self.warmBelow ? 0 : max(1, repeats / 4)
    }
  }

  let workspaceBytes: Int?
  private(set) var account: RunAccount?
  private let process: PeerProcess
  private let checker: OutputChecker
  private let shape: TensorShape
  private let bounds: OutputBounds
  private let outputPath: String
  private var turn = Turn(call: .infinity)

  /// Prepares the case, and calls it to learn how long it takes.
  ///
  /// - Throws: `PeerError`.
  init(
    _ process: PeerProcess, _ work: PeerCase, operands: [String: String],
    checker: OutputChecker,
    shape: TensorShape, bounds: OutputBounds, outputPath: String
  ) throws {
    self.process = process
    self.checker = checker
    self.shape = shape
    self.bounds = bounds
    self.outputPath = outputPath
    let ready: PeerPrepared = try process.ask(.prepare(work, operands: operands))
    workspaceBytes = ready.workspaceBytes
    var call = try take(Turn(call: .infinity)).seconds
    if call < Turn.warmBelow {
      call = min(call, try Self.least(process.ask(.run(warm: 0, repeats: 3))))
    }
    turn = Turn(call: call)
  }

  deinit {
    // A process that has ended holds nothing, and asking would start another.
    if process.identifier != nil { _ = try? process.ask(PeerRequest(.release), for: PeerDone.self) }
  }

  /// Nothing: the calls that wake a peer's threads belong to its turn.
  func arm() {}

  func run() throws {
    account = nil
    account = try take(turn)
  }

  func check() throws -> OutputCheck {
    let output = try fetched()
    var check = try checker.check(output.view)
    check.fault = try fault(of: output)
    return check
  }

  /// Why the output of the last call is not the function that is timed; nil where it is.
  private func fault(of output: Tensor) throws -> String? {
    let errors = try checker.errors(of: output.view)
    let distance = OutputDifference(maximum: errors.maximum, relativeL2: errors.relativeL2)
    return bounds.allow(distance)
      ? nil : "differs from the fp64 definition: \(distance), \(bounds)"
  }

  /// The output of the last call, once it has proved right.
  ///
  /// - Parameter other: attnbench's output, where there is one.
  /// - Throws: `PeerError.wrong` where it is not the function that is timed.
  func checkedOutput(like other: Tensor?) throws -> Tensor {
    let output = try fetched()
    if let fault = try fault(of: output) { throw PeerError.wrong(fault) }
    guard let other else { return output }
    let difference = OutputDifference(output, other, within: bounds)
    guard bounds.allow(difference) else {
      throw PeerError.wrong("differs from attnbench: \(difference), \(bounds)")
    }
    return output
  }

  private func fetched() throws -> Tensor {
    let _: PeerDone = try process.ask(.output(to: outputPath))
    defer { try? FileManager.default.removeItem(atPath: outputPath) }
    let file = try NpyFile.read(outputPath)
    let expected = [shape.batch, shape.heads, shape.rows, shape.columns]
    guard file.shape == expected || shape.batch == 1 && file.shape == Array(expected.dropFirst())
    else {
      throw PeerError.wrong("the output has shape \(file.shape) instead of \(expected)")
    }
    let output = try Tensor(shape)
    file.withUnsafeElements { output.elements.update(from: $0) }
    return output
  }

  private func take(_ turn: Turn) throws -> RunAccount {
    let times: PeerTimes = try process.ask(.run(warm: turn.warm, repeats: turn.repeats))
    guard times.wallNs.count == turn.repeats, times.cpuNs.count == turn.repeats,
      let wall = SampleSummary(times.wallNs.map { Double($0) / 1e9 }), wall.minimum > 0,
      let processor = SampleSummary(times.cpuNs.map { Double($0) / 1e9 })
    else {
      throw PeerError.garbled(
        request: "run",
        said: "\(times.wallNs.count) wall and \(times.cpuNs.count) processor times for "
          + "\(turn.repeats) calls, or one that is not above 0")
    }
    let calls = Double(turn.warm + turn.repeats)
    return RunAccount(
      seconds: wall.median, processorSeconds: processor.median, turnSeconds: wall.median * calls)
  }

  private static func least(_ times: PeerTimes) -> Double {
    Double(times.wallNs.min() ?? 0) / 1e9
  }
}
