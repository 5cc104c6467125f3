import AttentionContract
import AttentionKernels
import Tensors

/// Splits the passes of a pattern into tasks: head by head, the longest sequences first, within a
/// head the largest first.
///
/// Dealt in that order from an atomic counter, workers share the keys of one head in the cache. Tasks
/// are as large as the cache allows while much is left to do, since a large one uses each block of
/// keys more often, and shrink with what is left, so that neither a causal triangle nor a batch of
/// unequal sequences leaves a core idle at the end. Which worker gets which task has no influence
/// on the result: a panel's arithmetic is the same in any task.
///
/// Polychronopoulos & Kuck 1987, "Guided self-scheduling", IEEE Transactions on Computers 36(12).
struct TaskList {
  /// Tasks that may run at the same time: of one pass, for some heads.
  struct Stage: Sendable {
    let pass: Int
    let tasks: [PanelTask]
  }

  /// In the order in which they must run. With several passes, all of them over a few heads come
  /// before the next heads, so that a later pass finds its operands in the last-level cache.
  let stages: [Stage]

  /// - Parameters:
  ///   - tables: the pattern of each batch entry.
  ///   - map: what mask and bias leave of it.
  ///   - panelLanes: query rows in a panel.
  ///   - panels: most panels in a task.
  init(
    tables: [PatternTable], map: TileMap?, shape: AttentionShape, panelLanes: Int, panels: Int,
    threads: Int
  ) {
    let passes = tables[0].passes.indices
    // Heads differ only where a mask tells them apart.
    let distinct = (map?.axes.heads ?? 1) == 1 ? 1 : shape.kvHeads
    // [pass][batch * kvHead].
    let costs = passes.map { pass in
      tables.enumerated().flatMap { batch, table in
        let heads = (0..<distinct).map { kvHead in
          HeadCosts(
            table, map: map, pass: pass, batch: batch,
            heads: kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize,
            panelLanes: panelLanes)
        }
        return (0..<shape.kvHeads).map { heads[$0 % distinct] }
      }
    }
    let total = costs[0].indices.map { head in costs.reduce(0) { $0 + $1[head].total } }
    // Longer sequences of a batch first.
    let order = total.indices.filter { total[$0] > 0 }
      .sorted { (total[$1], $0) < (total[$0], $1) }
    let evenly = costs.map { TaskList.divideEvenly($0, limit: panels, threads: threads) }
    stages = TaskList.groups(order, costs, limit: panels, threads: threads).flatMap { group in
      passes.map { pass in
        var tasks: [PanelTask] = []
        var left = group.reduce(0) { $0 + costs[pass][$1].total }
        for head in group {
          tasks += costs[pass][head].tasks(
            batch: head / shape.kvHeads, kvHead: head % shape.kvHeads, panels: panels,
            share: evenly[pass] ? 1 : threads, left: &left)
        }
        return Stage(pass: pass, tasks: tasks)
      }
    }
  }

  /// Whether whole heads are tasks that give every worker as much as the others.
  private static func divideEvenly(_ heads: [HeadCosts], limit: Int, threads: Int) -> Bool {
    heads.allSatisfy { $0.total == heads[0].total && $0.longestClass <= limit }
      && heads.count * heads[0].classes.count % threads == 0
  }

  /// Heads that go through all passes together. Workers wait for each other after every pass:
  /// enough tasks to make that a small part.
  private static func groups(
    _ order: [Int], _ costs: [[HeadCosts]], limit: Int, threads: Int
  ) -> [[Int]] {
    if costs.count == 1 { return order.isEmpty ? [] : [order] }
    var groups: [[Int]] = []
    var counts: [Int] = []
    for head in order {
      if counts.contains(where: { $0 < 8 * threads }), !groups.isEmpty {
        groups[groups.count - 1].append(head)
      } else {
        groups.append([head])
        counts = costs.map { _ in 0 }
      }
      for pass in costs.indices { counts[pass] += costs[pass][head].leastTasks(of: limit) }
    }
    return groups
  }
}
