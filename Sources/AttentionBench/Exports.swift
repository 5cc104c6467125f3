// The harness as one module: `import AttentionBench`.
@_exported import Choosing
@_exported import Measuring
@_exported import Records
@_exported import Reporting
@_exported import Statistics
@_exported import Units
