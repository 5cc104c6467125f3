import Attention
import AttentionBench
import PeerProtocol

/// Who is there, and what they say of themselves.
public struct Present: Sendable {
  /// The program.
  public let implementation: Implementation
  /// Its answer to `hello`.
  public let hello: PeerHello

  /// An implementation that has answered.
  public init(_ implementation: Implementation, _ hello: PeerHello) {
    self.implementation = implementation
    self.hello = hello
  }
}

/// All implementations of one kind of work at all its sizes, as a plan of a sweep.
public struct PeerPlan: Sendable {
  /// A cell with what it compares.
  public struct Compared: Sendable {
    /// The work.
    public let work: Workload
    /// Who does it.
    public let implementation: Implementation
    /// attnbench's strategy for it, as it was written.
    public let strategy: String
    /// The cell.
    public let cell: SweepCell
  }

  /// Work that an implementation has no function for.
  public struct Unserved: Hashable, Sendable {
    /// Who.
    public let implementation: String
    /// Which work.
    public let work: String
    /// Why.
    public let reason: String
  }

  /// In the order of the plan.
  public private(set) var compared: [Compared] = []
  /// What is left out.
  public private(set) var unserved: [Unserved] = []
  /// Where cells run.
  public let placements: [SweepPlacement]
  /// The libraries that were asked, in the order of their columns.
  public let peers: [String]

  /// Plans the cells of one kind, and asks everybody what they serve.
  ///
  /// - Parameter works: of one kind, each size once.
  public init(
    _ works: [Workload], by present: [Present], on placements: [SweepPlacement],
    registry: StrategyRegistry = .standard, executor: PeerExecutor
  ) {
    self.placements = placements
    peers = present.map(\.implementation).filter { $0.side == .peer }.map(\.name)
    for work in works {
      var row = 0
      for one in present {
        // A peer has one function for the work, a build of attnbench its strategies.
        let strategies = one.implementation.side == .peer ? [work.strategies[0]] : work.strategies
        for strategy in strategies {
          do throws(AttentionError) {
            let definition = work.definition(try registry.strategy(strategy))
            add(work, strategy, one, row: row, definition, executor)
            row += 1
          } catch {
            // Such as products that this processor does not have.
            leaveOut(work, strategy, one.implementation, "\(error)")
          }
        }
      }
    }
  }

  /// The cells as a sweep runs them.
  public func sweep(seed: UInt64) -> SweepPlan {
    SweepPlan(cells: compared.map(\.cell), placements: placements, seed: seed)
  }

  /// Who runs each cell.
  public var entries: [String: PeerExecutor.Entry] {
    let pairs = compared.map { one in
      (
        one.cell.id,
        PeerExecutor.Entry(
          one.implementation,
          one.work.peerCase(strategy: one.strategy, threads: one.cell.placement.threads))
      )
    }
    return Dictionary(uniqueKeysWithValues: pairs)
  }

  private mutating func add(
    _ work: Workload, _ strategy: String, _ one: Present, row: Int,
    _ definition: any AttentionStrategy, _ executor: PeerExecutor
  ) {
    let implementation = one.implementation
    var offer = PeerOffer(serves: true)
    if let place = placements.first {
      let process = executor.process(implementation, strategy: strategy, on: place)
      let asked = work.peerCase(strategy: strategy, threads: place.threads)
      // Who fails here fails again when it is prepared, and gets a row that says so.
      offer = (try? process.ask(.serves(asked))) ?? offer
    }
    guard offer.serves else {
      leaveOut(work, strategy, implementation, offer.reason ?? "no such function")
      return
    }
    let runner = Self.runner(one, work, definition, offer)
    let name = implementation.side == .peer ? runner.label.name : runner.label.text
    for (column, placement) in placements.enumerated() {
      let cell = SweepCell(
        id: "\(SweepCell.slug(name))-\(work.name)-t\(placement.threads)", problem: work.problem,
        n: work.n, runner: runner, definition: definition,
        // Its copies of the operands are memory too.
        workspaceBytes: work.problem.tensorBytes + (offer.scratchBytes ?? 0),
        placement: placement, curve: row * placements.count + column)
      compared.append(
        Compared(work: work, implementation: implementation, strategy: strategy, cell: cell))
    }
  }

  private mutating func leaveOut(
    _ work: Workload, _ strategy: String, _ implementation: Implementation, _ reason: String
  ) {
    let name = implementation.name + (implementation.side == .peer ? "" : " \(strategy)")
    unserved.append(Unserved(implementation: name, work: work.name, reason: reason))
  }

  /// attnbench's rows say what they run as those of a sweep do, those of another build with a prefix;
  /// a peer's say which version it is.
  private static func runner(
    _ one: Present, _ work: Workload, _ definition: any AttentionStrategy, _ offer: PeerOffer
  ) -> CellRunner {
    var runner = CellRunner(definition, work.problem)
    runner.build = ResultRow.Build(
      blasCore: one.hello.blasCore ?? "", isa: one.hello.isa ?? "")
    switch one.implementation.side {
    case .own: break
    case .before: runner.label.name = "\(one.implementation.name).\(runner.label.name)"
    case .peer:
      runner.label.name = one.implementation.name
      runner.label.parameters =
        one.hello.version + (work.window.map { ", window: \($0)" } ?? "")
      runner.elementType = offer.dtype ?? runner.elementType
      // Nobody knows what it multiplies.
      runner.arithmetic = .float32
    }
    return runner
  }
}
