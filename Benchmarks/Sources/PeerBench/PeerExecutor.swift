import Attention
import AttentionBench
import Foundation
import MachineTopology
import PeerProtocol
import TensorFiles

/// Runs cells in other processes: each is prepared, checked, and then timed in turns.
///
/// Operands, references and the machine's ceilings are those of an `AttentionExecutor` in this
/// process; operands reach the peers as files.
public final class PeerExecutor: CellExecutor {
  /// Who runs a cell, and what it is told.
  public struct Entry: Sendable {
    let implementation: Implementation
    let work: PeerCase

    /// An implementation and its work.
    public init(_ implementation: Implementation, _ work: PeerCase) {
      self.implementation = implementation
      self.work = work
    }
  }

  /// A process holds one prepared case, so that each row of a size has its own: a peer has one row a
  /// placement, a build of attnbench one for each of its strategies.
  private struct Seat: Hashable {
    let implementation: Implementation
    let strategy: String?
    let placement: SweepPlacement
  }

  /// Who runs each cell, by its id.
  public var entries: [String: Entry] = [:]
  /// Of each cell of another build, whether its output has the same bits as this build's.
  public private(set) var hasSameBits: [String: Bool] = [:]

  private let host: AttentionExecutor
  private let inputs: SweepInputs
  private let allowed: CPUSet
  private let folder: String
  private let log: String
  private let patience: Double
  private var processes: [Seat: PeerProcess] = [:]
  private var operands: [String: String] = [:]
  /// Outputs of this build for the loaded problem, by strategy and threads.
  private var ownOutputs: [String: Tensor] = [:]
  /// The first of them, which the others' are held against.
  private var firstOutput: Tensor?

  /// Runs peers on the placements of `host`.
  ///
  /// - Parameters:
  ///   - inputs: where `host` takes its operands from.
  ///   - allowed: the CPUs of a worker that is not bound.
  ///   - folder: where operands and outputs are handed over; memory is best.
  ///   - log: the file that peers' standard errors go to.
  ///   - patience: seconds that any answer may take.
  public init(
    host: AttentionExecutor, inputs: SweepInputs, allowed: CPUSet, folder: String, log: String,
    patience: Double
  ) {
    self.host = host
    self.inputs = inputs
    self.allowed = allowed
    self.folder = folder
    self.log = log
    self.patience = patience
  }

  public var caches: CacheCapacities { host.caches }

  /// A probe for the engine that sums over this process and the peers'.
  public var probe: any MachineProbe {
    PeerProbe(cpus: host.cpus(allowed: allowed)) { [weak self] in
      self?.processes.values.compactMap(\.identifier) ?? []
    }
  }

  /// The process for a row, which may not have been started.
  public func process(
    _ implementation: Implementation, strategy: String, on placement: SweepPlacement
  ) -> PeerProcess {
    let seat = Seat(
      implementation: implementation, strategy: implementation.side == .peer ? nil : strategy,
      placement: placement)
    if let process = processes[seat] { return process }
    let places = host.bindings(of: placement).map { ($0 ?? allowed).indices }
    let process = PeerProcess(
      command: implementation.command, places: places, log: log, patience: patience)
    processes[seat] = process
    return process
  }

  /// Ends all processes.
  public func quit() { processes = [:] }

  /// Makes the operands and writes each to a file that all peers read.
  public func load(_ problem: AttentionProblem) throws {
    forget()
    try host.load(problem)
    let tensors = try host.operands()
    for (name, tensor) in [
      ("query", tensors.query), ("key", tensors.key), ("value", tensors.value),
    ] {
      try hand(tensor, as: name, axes: 4)
    }
  }

  /// Writes what a cell's definition takes beyond query, key and value, each once: the numbers that
  /// `host` computes its references from.
  private func handNamedOperands(of cell: SweepCell) throws {
    for declaration in cell.strategy.operands where operands[declaration.name] == nil {
      let made = try inputs.operands([declaration], for: cell.problem.shape)
      guard let tensor = made[declaration.name] else { continue }
      try hand(tensor, as: declaration.name, axes: declaration.axes.count)
    }
  }

  /// Writes which blocks of keys the blocks of queries attend to, by the pattern of a cell's definition.
  private func handBlocks(_ block: Int, of cell: SweepCell) throws {
    let name = "blocks"
    guard operands[name] == nil else { return }
    let pattern = cell.strategy.pattern(for: cell.problem.geometry(batch: 0))
    try hand(BlockLayout(pattern, block: block).tensor(), as: name)
  }

  private func hand(_ tensor: Tensor, as name: String, axes: Int) throws {
    let shape = tensor.shape
    let sizes = [shape.batch, shape.heads, shape.rows, shape.columns]
    let copy = try HostTensor(shape: Array(sizes.prefix(axes))) {
      _ = $0.update(from: tensor.elements)
    }
    try hand(copy, as: name)
  }

  private func hand(_ tensor: HostTensor, as name: String) throws {
    operands[name] = "\(folder)/\(name).npy"
    try NpyFile.write(tensor, to: "\(folder)/\(name).npy")
  }

  public func unload() {
    forget()
    host.unload()
  }

  private func forget() {
    for path in operands.values { try? FileManager.default.removeItem(atPath: path) }
    operands = [:]
    ownOutputs = [:]
    firstOutput = nil
  }

  /// Lets the cell's process make ready, and holds its output against the definition and against
  /// attnbench's, before any time is taken.
  public func prepare(_ cell: SweepCell) throws -> any PreparedCell {
    guard let entry = entries[cell.id] else { throw PeerError.unknownCell(cell.id) }
    let process = process(
      entry.implementation, strategy: entry.work.strategy, on: cell.placement)
    try handNamedOperands(of: cell)
    if entry.work.selection == .given, let block = entry.work.block {
      try handBlocks(block, of: cell)
    }
    let prepared = try PreparedPeer(
      process, entry.work, operands: operands, checker: host.checker(for: cell),
      shape: cell.problem.shape.output,
      bounds: OutputBounds(cell.problem.storage, selectsKeys: cell.strategy.selectsKeys),
      outputPath: "\(folder)/output.npy")
    let output = try prepared.checkedOutput(like: firstOutput)
    let key = "\(entry.work.strategy) \(entry.work.threads)"
    switch entry.implementation.side {
    case .own:
      if firstOutput == nil { firstOutput = output }
      ownOutputs[key] = output
    case .before:
      hasSameBits[cell.id] = ownOutputs[key].map { own in
        own.bytes.elementsEqual(output.bytes)
      }
    case .peer: break
    }
    return prepared
  }

  public func flopRate(on placement: SweepPlacement, in arithmetic: Arithmetic) throws -> Double {
    try host.flopRate(on: placement, in: arithmetic)
  }

  public func blasRate(on placement: SweepPlacement) throws -> Double {
    try host.blasRate(on: placement)
  }

  public func readRate(on placement: SweepPlacement) throws -> Double? {
    try host.readRate(on: placement)
  }

  public func readRate(on placement: SweepPlacement, of set: WorkingSet) throws -> Double? {
    try host.readRate(on: placement, of: set)
  }
}
