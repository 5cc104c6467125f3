import AttentionBench
import Foundation
import MessagePassing
import Synchronization

/// Deals cells and takes in what came of them while this rank measures: a thread that has the communicator until
/// all cells have ended.
///
/// So that a rank that has ended a cell gets the next at once, whatever rank 0 computes, and a rank that dies
/// is found out while the others are in the middle of long runs.
package final class CellDesk: @unchecked Sendable {
  private let communicator: Communicator
  private let fail: (any Error) -> Never
  /// How cells are named in messages.
  private let name: (Int) -> String
  private let state = Mutex(State())

  /// What the two threads give each other.
  private struct State {
    /// What came of the last cell, or that the rank is ready, until it is taken.
    var report: CellReport?
    /// The next cell, until it is taken.
    var deal: CellDeal?
    /// The cell that is measured now, and when it last moved on.
    var measuring: (cell: Int, since: Double)?
    /// Whether it has since the desk last looked.
    var hasMoved = false
    var isEnded = false
  }

  /// Seconds between two looks: short beside a cell, and nothing beside the cores that measure.
  private static let rest = 0.02

  /// - Parameters:
  ///   - name: of a cell, by its place in the plan.
  ///   - fail: ends all ranks; called by the desk's thread.
  package init(
    _ communicator: Communicator, naming name: @escaping (Int) -> String,
    fail: @escaping (any Error) -> Never
  ) {
    self.communicator = communicator
    self.name = name
    self.fail = fail
  }

  /// Opens rank 0's desk, which deals for all.
  ///
  /// - Parameter keep: what to do with what a rank measured, before it gets its next cell.
  package func open(
    _ dealer: CellDealer,
    keep: @escaping (_ report: CellReport, _ rank: Int, _ dealer: inout CellDealer) throws -> Void
  ) {
    start { desk in
      var dealer = dealer
      try desk.serveAll(&dealer, keep)
    }
  }

  /// Opens another rank's desk.
  package func open() {
    start { desk in try desk.serveOne() }
  }

  private func start(_ serve: @escaping (CellDesk) throws -> Void) {
    let work = Work(serve: serve)
    let thread = Thread { [self] in
      do {
        try work.serve(self)
      } catch {
        fail(error)
      }
      state.withLock { $0.isEnded = true }
    }
    thread.name = "attn-cells"
    thread.start()
  }

  /// Goes to the desk's thread, and is used there alone.
  private struct Work: @unchecked Sendable {
    let serve: (CellDesk) throws -> Void
  }

  /// Gives what came of the last cell and waits for the next; nil when all cells of all ranks have ended. The
  /// communicator is this thread's again then.
  package func next(after report: CellReport) -> CellDeal? {
    state.withLock {
      $0.report = report
      $0.measuring = nil
    }
    while true {
      let (deal, isEnded) = state.withLock { state -> (CellDeal?, Bool) in
        defer { state.deal = nil }
        if let cell = state.deal?.cell { state.measuring = (cell, monotonicSeconds()) }
        return (state.deal, state.isEnded)
      }
      if let deal, deal.cell != nil { return deal }
      if isEnded { return nil }
      Thread.sleep(forTimeInterval: Self.rest / 4)
    }
  }

  /// Says that the cell that is measured moves on.
  package func moves() {
    state.withLock {
      $0.measuring?.since = monotonicSeconds()
      $0.hasMoved = true
    }
  }

  private func takeReport() -> CellReport? {
    state.withLock { state in
      defer { state.report = nil }
      return state.report
    }
  }

  /// Tells the other ranks that this one moves on where the thread that measures does, or has nothing to: that
  /// the desk's lives says nothing of it.
  private func expectProgress() throws(MessagePassingError) {
    let (measuring, hasMoved) = state.withLock { state in
      defer { state.hasMoved = false }
      return (state.measuring, state.hasMoved)
    }
    if measuring == nil || hasMoved { try communicator.movesOn("cells are measured") }
    guard let (cell, since) = measuring else { return }
    let seconds = monotonicSeconds() - since
    if seconds > 4 * communicator.timeLimit {
      throw .overdue(
        rank: communicator.rank, seconds: seconds, waiting: "it measures \(name(cell))")
    }
  }

  private func serveOne() throws {
    let mailbox = Mailbox(communicator, peer: 0)
    var isAwaiting = false
    try poll { [self] in
      if !isAwaiting, let report = takeReport() {
        try mailbox.post(Array(JSONEncoder().encode(report)))
        isAwaiting = true
      }
      guard try mailbox.hasGone(), isAwaiting, let bytes = try mailbox.next() else {
        return false
      }
      isAwaiting = false
      let deal = try JSONDecoder().decode(CellDeal.self, from: Data(bytes))
      state.withLock { $0.deal = deal }
      return deal.cell == nil
    }
  }

  private func serveAll(
    _ dealer: inout CellDealer, _ keep: (CellReport, Int, inout CellDealer) throws -> Void
  ) throws {
    let mailboxes = (1..<max(communicator.size, 1)).map { Mailbox(communicator, peer: $0) }
    var awaited = Set(mailboxes.map(\.peer))
    var idle: Set<Int> = []
    var ended: Set<Int> = []
    func take(_ report: CellReport, _ rank: Int) throws {
      if !report.rows.isEmpty { try keep(report, rank, &dealer) }
      idle.insert(rank)
    }
    func give(_ deal: CellDeal, _ rank: Int) throws {
      if rank == 0 {
        state.withLock { $0.deal = deal }
      } else {
        try mailboxes[rank - 1].post(Array(JSONEncoder().encode(deal)))
        if deal.cell != nil { awaited.insert(rank) }
      }
      idle.remove(rank)
    }
    try poll { [self] in
      for mailbox in mailboxes where awaited.contains(mailbox.peer) {
        guard let bytes = try mailbox.next() else { continue }
        awaited.remove(mailbox.peer)
        try take(JSONDecoder().decode(CellReport.self, from: Data(bytes)), mailbox.peer)
      }
      if let report = takeReport() { try take(report, 0) }
      for rank in idle.sorted() {
        if let deal = dealer.deal(to: rank) { try give(deal, rank) }
      }
      if dealer.isDone {
        for rank in idle {
          try give(CellDeal(), rank)
          ended.insert(rank)
        }
      }
      var allGone = true
      for mailbox in mailboxes where try !mailbox.hasGone() { allGone = false }
      return allGone && ended.count == communicator.size
    }
  }

  /// Looks again and again until a look says that all is done; errors of any kind end it.
  private func poll(_ look: () throws -> Bool) throws {
    var failure: (any Error)?
    try communicator.wait("cells are measured", resting: Self.rest) {
      () throws(MessagePassingError) in
      try expectProgress()
      do {
        return try look()
      } catch let error as MessagePassingError {
        throw error
      } catch {
        failure = error
        return true
      }
    }
    if let failure { throw failure }
  }
}
