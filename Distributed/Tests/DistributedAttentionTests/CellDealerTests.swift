import Attention
import AttentionBench
import MachineTopology
import Testing

import DistributedAttention

@Suite struct CellDealerTests {
  private let plan: SweepPlan
  private var forecast = SweepForecast()

  init() throws {
    let placement = SweepPlacement(threads: 1, binding: .none)
    plan = try SweepPlan(
      sizes: [1000, 2000, 4000],
      strategies: StrategyRegistry.standard.strategies("flash,window(64)"),
      placements: [placement], seed: 1
    ) { n in
      try AttentionProblem(AttentionShape(heads: 1, queryLength: n, headDim: 64))
    }
    forecast.learn(flopRate: 1e9, threads: 1)
  }

  private func dealer(
    cellTimeout: Double = 1000, earlier: [ResultRow] = [], samples: [String: Int] = [:]
  ) -> CellDealer {
    var limits = SweepLimits()
    limits.cellTimeout = cellTimeout
    return CellDealer(
      plan, limits: limits, forecast: forecast, earlierRows: earlier, earlierSamples: samples)
  }

  private func row(_ id: String, _ status: Status, seconds: Double = 1) throws -> ResultRow {
    let cell = try #require(plan.cells.first { $0.id == id })
    let shape = cell.problem.shape
    var row = ResultRow(
      runID: "run", cellID: id, strategy: cell.runner.label,
      shape: ResultRow.Shape(
        batch: 1, heads: 1, kvHeads: 1, queryLength: shape.queryLength,
        keyLength: shape.keyLength, headDimension: 64, valueDimension: 64, elementType: "fp32",
        isCausal: false),
      placement: ResultRow.Placement(threads: 1, bind: "none"), status: status,
      build: ResultRow.Build(blasCore: "", isa: ""))
    if status.isMeasured { row.time.median = seconds }
    return row
  }

  /// All cells in the order in which they are dealt, each ended at once.
  private func order(_ dealer: CellDealer) throws -> [String] {
    var (dealer, order) = (dealer, [String]())
    while let deal = dealer.deal(to: 0) {
      let id = plan.cells[try #require(deal.cell)].id
      order.append(id)
      dealer.end(0, rows: [try row(id, .ok)])
    }
    #expect(dealer.isDone)
    return order
  }

  @Test func theLongestCellComesFirst() throws {
    let order = try order(dealer())
    #expect(order.count == 6 && Set(order).count == 6)
    #expect(order.prefix(3) == ["flash-n4000-t1", "flash-n2000-t1", "flash-n1000-t1"])
    #expect(order.last == "window_64-n1000-t1")
  }

  @Test func cellsThatMayTakeTooLongComeLastAndRising() throws {
    // At 35% of 10^9 flop/s flash takes 0.73 s at 1,000 rows, 2.9 s at 2,000 and 12 s at 4,000.
    let order = try order(dealer(cellTimeout: 1))
    #expect(order.first == "flash-n1000-t1")
    #expect(order.suffix(2) == ["flash-n2000-t1", "flash-n4000-t1"])
  }

  @Test func smallerCellsOfACurveGoAlong() throws {
    var dealer = dealer(cellTimeout: 1, samples: ["flash-n2000-t1": 7])
    var deals: [String: CellDeal] = [:]
    while let deal = dealer.deal(to: 3) {
      let id = plan.cells[try #require(deal.cell)].id
      deals[id] = deal
      dealer.end(3, rows: [try row(id, .noisy, seconds: 0.25)])
    }
    let middle = try #require(deals["flash-n2000-t1"])
    #expect(middle.samples == 7)
    let known = try middle.known.map { try ResultRow(fields: $0) }
    #expect(known.map(\.cellID) == ["flash-n1000-t1"])
    #expect(known[0].time.median == 0.25)
    #expect(deals["flash-n4000-t1"]?.known.count == 2)
  }

  @Test func whatIsSettledIsNotDealtAgain() throws {
    let earlier = [
      try row("flash-n4000-t1", .ok), try row("flash-n2000-t1", .skippedMemory),
      try row("window_64-n4000-t1", .error), try row("window_64-n2000-t1", .wrong),
      try row("window_64-n1000-t1", .skippedTime),
      // Failed first, and was measured later.
      try row("flash-n1000-t1", .error), try row("flash-n1000-t1", .lowSamples),
    ]
    let dealer = dealer(earlier: earlier)
    #expect(dealer.finished == (3, 6))
    #expect(
      try order(dealer) == ["window_64-n4000-t1", "window_64-n2000-t1", "window_64-n1000-t1"])
  }

  @Test func aCellIsDoneWhenItsRankSaysSo() throws {
    var dealer = dealer()
    for rank in 0..<6 { #expect(dealer.deal(to: rank) != nil) }
    #expect(dealer.deal(to: 6) == nil)
    #expect(!dealer.isDone && dealer.finished == (0, 6))
    for rank in 0..<6 { dealer.end(rank, rows: []) }
    #expect(dealer.isDone && dealer.finished == (6, 6))
  }
}
