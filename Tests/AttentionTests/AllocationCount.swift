import Attention
import AttentionTestSupport
import CAllocationCounter

#if canImport(Glibc)
  import Glibc

  /// Counts what runs of plans allocate, on any thread of the process.
  enum AllocationCount {
    /// Allocations of a run, after some that make what is made once.
    ///
    /// - Parameters:
    ///   - owners: what owns the memory of the operands.
    ///   - change: applied to the operands before the run that is counted.
    static func ofRun(
      _ plan: any AttentionPlan, _ operands: AttentionOperands, owners: Any,
      change: (inout AttentionOperands) -> Void = { _ in }
    ) throws -> Int {
      var operands = operands
      exemptOpenBLAS
      return try withExtendedLifetime(owners) {
        for _ in 0..<3 { try plan.run(operands) }
        change(&operands)
        allocation_counter_start()
        try plan.run(operands)
        return allocation_counter_stop()
      }
    }

    /// Allocations of a run on two threads over fp32 tensors.
    static func ofRun(
      _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ inputs: TestInputs,
      _ outputs: TestOutputs, change: (inout AttentionOperands) -> Void = { _ in }
    ) throws -> Int {
      try ofRun(
        strategy.plan(for: problem, on: Teams.of(2)), outputs.operands(inputs),
        owners: (inputs, outputs), change: change)
    }

    /// Allocations of a run on two threads over tensors of the given types.
    static func ofRun(
      _ strategy: any AttentionStrategy, _ test: TestCase, storing elements: Storage,
      seed: Int
    ) throws -> Int {
      let problem = try test.problem.storing(elements)
      let inputs = StoredInputs(TestInputs(problem, seed: seed), elements)
      let output = try Tensor(problem.shape.output, elementType: elements.query)
      return try ofRun(
        strategy.plan(for: problem, on: Teams.of(2)),
        AttentionOperands(
          query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
          output: output.mutableView),
        owners: (inputs, output))
    }

    /// OpenBLAS's AVX-512 kernels for small products take a buffer in every call and free it.
    private static let exemptOpenBLAS: Void = {
      guard allocation_counter_exempt(dlsym(nil, "cblas_sgemm")) == 1 else {
        fatalError("OpenBLAS is not among the libraries of this process")
      }
    }()
  }
#endif
